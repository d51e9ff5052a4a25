//! Which processor it is, and which of its instructions matter here.

/// What is worth naming: vectors, and products of bytes.
const FLAGS: [&str; 14] = [
    "avx2",
    "fma",
    "avx512f",
    "avx512bw",
    "avx512vl",
    "avx512_vnni",
    "avx_vnni",
    "avx_vnni_int8",
    "amx_int8",
    "asimd",
    "asimddp",
    "i8mm",
    "sve",
    "neon",
];

/// A processor.
pub struct Cpu {
    pub model: String,
    pub flags: Vec<&'static str>,
}

impl Cpu {
    /// This one, as Linux describes it; elsewhere just its architecture.
    pub fn this() -> Cpu {
        let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        Cpu::parse(&text)
    }

    fn parse(text: &str) -> Cpu {
        let field = |names: &[&str]| {
            let mut lines = text.lines().filter_map(|l| l.split_once(':'));
            let found = lines.find(|(key, _)| names.contains(&key.trim()));
            found.map(|(_, value)| value.trim().to_owned())
        };
        let model = field(&["model name", "Model", "Processor"])
            .unwrap_or_else(|| std::env::consts::ARCH.to_owned());
        let all = field(&["flags", "Features"]).unwrap_or_default();
        let all: Vec<&str> = all.split_whitespace().collect();
        let flags = FLAGS.into_iter().filter(|f| all.contains(f)).collect();
        Cpu { model, flags }
    }

    /// Whether it multiplies bytes and adds four products in one instruction, which decides most
    /// between int8 and float.
    pub fn multiplies_bytes(&self) -> bool {
        let any = ["avx512_vnni", "avx_vnni", "asimddp"];
        self.flags.iter().any(|f| any.contains(f))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_linux_says_is_read() {
        let cpu =
            Cpu::parse("processor : 0\nmodel name\t: Some CPU\nflags : fpu avx2 avx512_vnni\n");
        assert_eq!(cpu.model, "Some CPU");
        assert_eq!(cpu.flags, ["avx2", "avx512_vnni"]);
        assert!(cpu.multiplies_bytes());
        let other = Cpu::parse("");
        assert_eq!(other.model, std::env::consts::ARCH);
        assert!(!other.multiplies_bytes());
    }
}
