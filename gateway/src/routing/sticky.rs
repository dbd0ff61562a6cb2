//! The share of projects that a route takes. A project stays on its side: its CRC-32 decides, as it did in GitLab's
//! gateway of 2023 (`F_THIRD_PARTY_ROLLOUT_PERCENTAGE`), so a roll-out that began there goes on here with the same projects.

/// What the hash is made of besides the project.
const SALT: &str = "with_fallback:";
/// Stands for requests without a project.
const NO_PROJECT: &str = "-1";
/// A percent is a thousand of these.
const PARTS: u32 = 100_000;

/// Whether `who` (a project's id, or what stands for it) is among the first `millipercent` of all.
#[must_use]
pub fn takes(millipercent: u32, who: Option<&str>) -> bool {
    let who = who.unwrap_or(NO_PROJECT);
    let mut crc = Crc32::default();
    crc.update(SALT.as_bytes());
    crc.update(who.as_bytes());
    crc.value() % PARTS < millipercent
}

/// CRC-32 as zlib computes it.
struct Crc32(u32);

impl Default for Crc32 {
    fn default() -> Self {
        Self(u32::MAX)
    }
}

impl Crc32 {
    fn update(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 ^= u32::from(*byte);
            for _ in 0..8 {
                let carry = self.0 & 1;
                self.0 = (self.0 >> 1) ^ (0xEDB8_8320 & carry.wrapping_neg());
            }
        }
    }

    fn value(&self) -> u32 {
        !self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_is_on_the_side_that_its_crc_says() {
        // python3 -c 'import zlib; print(zlib.crc32(b"with_fallback:ID") % 100000)'
        for (project, place) in EXPECTED {
            assert!(!takes(place, project), "{project:?}");
            assert!(takes(place + 1, project), "{project:?}");
        }
    }

    #[test]
    fn nobody_is_in_a_share_of_nothing_and_everybody_in_the_whole() {
        for id in 0..500 {
            let id = id.to_string();
            assert!(!takes(0, Some(&id)) && takes(PARTS, Some(&id)));
        }
    }

    const EXPECTED: [(Option<&str>, u32); 7] = [
        (Some("1"), 22_600),
        (Some("278964"), 8_835),
        (Some("42"), 45_097),
        (Some("0"), 13_214),
        (Some("9007199254740993"), 54_274),
        (Some("gitlab-org/gitlab"), 98_053),
        (None, 90_891),
    ];
}
