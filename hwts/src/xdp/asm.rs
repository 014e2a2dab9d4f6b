//! A small assembler for eBPF (Documentation/bpf/standardization/instruction-set.rst): the
//! instructions that our one program needs, with labels that may be bound later.

use std::os::fd::{AsRawFd, BorrowedFd};

/// Instruction classes.
const LDX: u8 = 0x01;
const ST: u8 = 0x02;
const STX: u8 = 0x03;
const JMP: u8 = 0x05;
const ALU64: u8 = 0x07;
/// Addressing by register and offset.
const MEM: u8 = 0x60;
/// The operand is a register rather than the immediate.
const BY_REGISTER: u8 = 0x08;
/// Operations on 64 bits.
const ADD: u8 = 0x00;
const MOV: u8 = 0xb0;
const AND: u8 = 0x50;
/// Jumps.
const JA: u8 = 0x00;
const JEQ: u8 = 0x10;
const JGT: u8 = 0x20;
const JNE: u8 = 0x50;
const CALL: u8 = 0x80;
const EXIT: u8 = 0x90;
/// A 64-bit immediate in two slots, and what says that it is the descriptor of a map
/// (`BPF_PSEUDO_MAP_FD`).
const LOAD_IMMEDIATE: u8 = 0x18;
const PSEUDO_MAP: Register = Register(1);
/// What says that a call is to a kernel function by its BTF id (`BPF_PSEUDO_KFUNC_CALL`).
const PSEUDO_KFUNC: Register = Register(2);

/// One instruction, as the kernel has it (`struct bpf_insn`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub(super) struct Instruction {
    code: u8,
    /// Destination in the lower four bits, source in the upper: little-endian bit fields.
    registers: u8,
    offset: i16,
    immediate: i32,
}

/// R0 returns values, R1 to R5 are arguments and lost in calls, R6 to R9 are kept, R10 is the end
/// of the stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Register(u8);

pub(super) const R0: Register = Register(0);
pub(super) const R1: Register = Register(1);
pub(super) const R2: Register = Register(2);
pub(super) const R3: Register = Register(3);
pub(super) const R4: Register = Register(4);
pub(super) const R5: Register = Register(5);
pub(super) const R6: Register = Register(6);
pub(super) const R7: Register = Register(7);
pub(super) const R8: Register = Register(8);
pub(super) const R10: Register = Register(10);

/// How much is loaded or stored; loads fill up with zeroes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Size {
    Word = 0x00,
    Half = 0x08,
    Byte = 0x10,
    Double = 0x18,
}

/// A place in the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Label(usize);

/// Why there is no program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AssemblyError {
    /// A label that is jumped to is nowhere.
    Unbound,
    /// A jump is longer than an offset can say.
    TooFar,
}

/// A program in the making.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    code: Vec<Instruction>,
    /// Where each label is.
    labels: Vec<Option<usize>>,
    /// Jumps whose offset is still to be filled in.
    jumps: Vec<(usize, Label)>,
}

impl Assembler {
    /// A label, to be bound once.
    pub(super) fn label(&mut self) -> Label {
        self.labels.push(None);
        Label(self.labels.len() - 1)
    }

    /// The label is here.
    pub(super) fn bind(&mut self, label: Label) -> &mut Self {
        self.labels[label.0] = Some(self.code.len());
        self
    }

    fn put(
        &mut self,
        code: u8,
        destination: Register,
        source: Register,
        offset: i16,
        immediate: i32,
    ) -> &mut Self {
        let registers = if cfg!(target_endian = "little") {
            destination.0 | source.0 << 4
        } else {
            destination.0 << 4 | source.0
        };
        self.code.push(Instruction {
            code,
            registers,
            offset,
            immediate,
        });
        self
    }

    /// `to = from`.
    pub(super) fn copy(&mut self, to: Register, from: Register) -> &mut Self {
        self.put(ALU64 | MOV | BY_REGISTER, to, from, 0, 0)
    }

    /// `to = value`, its sign extended.
    pub(super) fn set(&mut self, to: Register, value: i32) -> &mut Self {
        self.put(ALU64 | MOV, to, R0, 0, value)
    }

    /// `to += value`.
    pub(super) fn add(&mut self, to: Register, value: i32) -> &mut Self {
        self.put(ALU64 | ADD, to, R0, 0, value)
    }

    /// `to &= value`.
    pub(super) fn and(&mut self, to: Register, value: i32) -> &mut Self {
        self.put(ALU64 | AND, to, R0, 0, value)
    }

    /// `to = *(from + offset)`.
    pub(super) fn load(
        &mut self,
        size: Size,
        to: Register,
        from: Register,
        offset: i16,
    ) -> &mut Self {
        self.put(LDX | MEM | size as u8, to, from, offset, 0)
    }

    /// `*(to + offset) = from`.
    pub(super) fn store(
        &mut self,
        size: Size,
        to: Register,
        offset: i16,
        from: Register,
    ) -> &mut Self {
        self.put(STX | MEM | size as u8, to, from, offset, 0)
    }

    /// `*(to + offset) = value`.
    pub(super) fn store_value(
        &mut self,
        size: Size,
        to: Register,
        offset: i16,
        value: i32,
    ) -> &mut Self {
        self.put(ST | MEM | size as u8, to, R0, offset, value)
    }

    fn jump_if(
        &mut self,
        code: u8,
        left: Register,
        right: Register,
        value: i32,
        to: Label,
    ) -> &mut Self {
        self.jumps.push((self.code.len(), to));
        self.put(JMP | code, left, right, 0, value)
    }

    /// `goto to`.
    pub(super) fn jump(&mut self, to: Label) -> &mut Self {
        self.jump_if(JA, R0, R0, 0, to)
    }

    /// `if left > right goto to`, unsigned.
    pub(super) fn jump_if_above(
        &mut self,
        left: Register,
        right: Register,
        to: Label,
    ) -> &mut Self {
        self.jump_if(JGT | BY_REGISTER, left, right, 0, to)
    }

    /// `if left == value goto to`.
    pub(super) fn jump_if_equal(&mut self, left: Register, value: i32, to: Label) -> &mut Self {
        self.jump_if(JEQ, left, R0, value, to)
    }

    /// `if left != value goto to`.
    pub(super) fn jump_unless_equal(&mut self, left: Register, value: i32, to: Label) -> &mut Self {
        self.jump_if(JNE, left, R0, value, to)
    }

    /// Calls a helper by its number (linux/bpf.h).
    pub(super) fn call(&mut self, helper: i32) -> &mut Self {
        self.put(JMP | CALL, R0, R0, 0, helper)
    }

    /// Calls a function of the kernel by its BTF id.
    pub(super) fn call_kernel(&mut self, btf_id: u32) -> &mut Self {
        self.put(JMP | CALL, R0, PSEUDO_KFUNC, 0, btf_id.cast_signed())
    }

    /// `to` = the map behind the descriptor.
    pub(super) fn load_map(&mut self, to: Register, map: BorrowedFd<'_>) -> &mut Self {
        self.put(LOAD_IMMEDIATE, to, PSEUDO_MAP, 0, map.as_raw_fd())
            .put(0, R0, R0, 0, 0)
    }

    /// Returns R0.
    pub(super) fn exit(&mut self) -> &mut Self {
        self.put(JMP | EXIT, R0, R0, 0, 0)
    }

    /// The program, with all jumps filled in: offsets count from the instruction after the jump.
    pub(super) fn finish(mut self) -> Result<Vec<Instruction>, AssemblyError> {
        for (at, label) in self.jumps {
            let target = self.labels[label.0].ok_or(AssemblyError::Unbound)?;
            let distance = target as i64 - at as i64 - 1;
            self.code[at].offset = i16::try_from(distance).map_err(|_| AssemblyError::TooFar)?;
        }
        Ok(self.code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(build: impl FnOnce(&mut Assembler)) -> Vec<[u8; 8]> {
        let mut asm = Assembler::default();
        build(&mut asm);
        let code = asm.finish().unwrap();
        let bytes = |i: &Instruction| {
            let [o0, o1] = i.offset.to_le_bytes();
            let [v0, v1, v2, v3] = i.immediate.to_le_bytes();
            [i.code, i.registers, o0, o1, v0, v1, v2, v3]
        };
        code.iter().map(bytes).collect()
    }

    // What `llvm-mc -triple=bpfel -show-encoding` gives for the text beside it.
    #[test]
    fn encodings_are_those_of_other_assemblers() {
        type Case = (fn(&mut Assembler), [u8; 8]);
        let cases: [Case; 13] = [
            // r6 = r1
            (|a| _ = a.copy(R6, R1), [0xbf, 0x16, 0, 0, 0, 0, 0, 0]),
            // r2 = -24
            (
                |a| _ = a.set(R2, -24),
                [0xb7, 2, 0, 0, 0xe8, 0xff, 0xff, 0xff],
            ),
            // r4 += 14
            (|a| _ = a.add(R4, 14), [0x07, 4, 0, 0, 14, 0, 0, 0]),
            // r5 &= 0xff3f
            (|a| _ = a.and(R5, 0xff3f), [0x57, 5, 0, 0, 0x3f, 0xff, 0, 0]),
            // r2 = *(u32 *)(r6 + 0)
            (
                |a| _ = a.load(Size::Word, R2, R6, 0),
                [0x61, 0x62, 0, 0, 0, 0, 0, 0],
            ),
            // r5 = *(u16 *)(r2 + 12)
            (
                |a| _ = a.load(Size::Half, R5, R2, 12),
                [0x69, 0x25, 12, 0, 0, 0, 0, 0],
            ),
            // r5 = *(u8 *)(r2 + 23)
            (
                |a| _ = a.load(Size::Byte, R5, R2, 23),
                [0x71, 0x25, 23, 0, 0, 0, 0, 0],
            ),
            // r5 = *(u64 *)(r10 - 8)
            (
                |a| _ = a.load(Size::Double, R5, R10, -8),
                [0x79, 0xa5, 0xf8, 0xff, 0, 0, 0, 0],
            ),
            // *(u64 *)(r2 + 8) = r7
            (
                |a| _ = a.store(Size::Double, R2, 8, R7),
                [0x7b, 0x72, 8, 0, 0, 0, 0, 0],
            ),
            // *(u64 *)(r10 - 8) = 0
            (
                |a| _ = a.store_value(Size::Double, R10, -8, 0),
                [0x7a, 0x0a, 0xf8, 0xff, 0, 0, 0, 0],
            ),
            // call 51
            (|a| _ = a.call(51), [0x85, 0, 0, 0, 51, 0, 0, 0]),
            // call kfunc, as the kernel's verifier documentation has it
            (
                |a| _ = a.call_kernel(0x1234),
                [0x85, 0x20, 0, 0, 0x34, 0x12, 0, 0],
            ),
            // exit
            (|a| _ = a.exit(), [0x95, 0, 0, 0, 0, 0, 0, 0]),
        ];
        for (build, want) in cases {
            assert_eq!(bytes(build), [want]);
        }
    }

    #[test]
    fn jumps_count_from_the_next_instruction_either_way() {
        let code = bytes(|a| {
            let (back, forth) = (a.label(), a.label());
            a.bind(back);
            a.jump_if_above(R4, R3, forth)
                .jump_if_equal(R5, 8, back)
                .jump_unless_equal(R0, 0, forth)
                .jump(forth);
            a.bind(forth);
            a.exit();
        });
        assert_eq!(code[0], [0x2d, 0x34, 3, 0, 0, 0, 0, 0]);
        assert_eq!(code[1], [0x15, 5, 0xfe, 0xff, 8, 0, 0, 0]);
        assert_eq!(code[2], [0x55, 0, 1, 0, 0, 0, 0, 0]);
        assert_eq!(code[3], [0x05, 0, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn a_map_takes_two_slots() {
        use std::os::fd::AsFd;
        let stdin = std::io::stdin();
        let code = bytes(|a| _ = a.load_map(R1, stdin.as_fd()));
        assert_eq!(code, [[0x18, 0x11, 0, 0, 0, 0, 0, 0], [0; 8]]);
    }

    #[test]
    fn impossible_jumps_are_errors() {
        let mut nowhere = Assembler::default();
        let label = nowhere.label();
        nowhere.jump(label);
        assert_eq!(nowhere.finish(), Err(AssemblyError::Unbound));

        let mut far = Assembler::default();
        let label = far.label();
        far.jump(label);
        for _ in 0..40_000 {
            far.exit();
        }
        far.bind(label);
        assert_eq!(far.finish(), Err(AssemblyError::TooFar));
    }
}
