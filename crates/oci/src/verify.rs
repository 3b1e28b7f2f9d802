//! Checks bytes against a descriptor while they stream by.

use crate::{Descriptor, Digest, Hasher};

/// Why content is not what its descriptor promised.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// More bytes came than the descriptor says.
    #[error("{digest} has more than the {size} bytes its descriptor promises")]
    TooLong {
        /// The digest that was expected.
        digest: Digest,
        /// The descriptor's size in bytes.
        size: u64,
    },
    /// The content ended early.
    #[error("{digest} ended after {seen} of {size} bytes")]
    TooShort {
        /// The digest that was expected.
        digest: Digest,
        /// The bytes that came.
        seen: u64,
        /// The descriptor's size in bytes.
        size: u64,
    },
    /// The bytes hash to something else.
    #[error("digest mismatch: expected {expected}, the content is {found}")]
    Mismatch {
        /// The digest that was expected.
        expected: Digest,
        /// The digest of what came.
        found: Digest,
    },
}

/// Hashes and counts bytes on their way; `finish` says whether they were the right ones.
#[derive(Clone, Debug)]
pub struct Verifier {
    hasher: Hasher,
    digest: Digest,
    size: u64,
    seen: u64,
}

impl Verifier {
    /// Expects the content of `descriptor`.
    pub fn new(descriptor: &Descriptor) -> Self {
        Self {
            hasher: descriptor.digest.algorithm().hasher(),
            digest: descriptor.digest,
            size: descriptor.size,
            seen: 0,
        }
    }

    /// The same, whose [`state`](Self::state) can be kept.
    pub fn resumable(descriptor: &Descriptor) -> Self {
        Self { hasher: descriptor.digest.algorithm().resumable(), ..Self::new(descriptor) }
    }

    /// Goes on where another verifier of the same content was: what its [`seen`](Self::seen) and
    /// [`state`](Self::state) told. `None` if these cannot be such.
    pub fn resume(descriptor: &Descriptor, seen: u64, state: &[u8]) -> Option<Self> {
        let hasher = descriptor.digest.algorithm().resume(state)?;
        (seen <= descriptor.size).then(|| Self { hasher, seen, ..Self::new(descriptor) })
    }

    /// The hash so far: [`Hasher::state`].
    pub fn state(&self) -> Option<Vec<u8>> {
        self.hasher.state()
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// [`VerifyError::TooLong`] as soon as there are more than promised.
    pub fn update(&mut self, bytes: &[u8]) -> Result<(), VerifyError> {
        self.seen = self.seen.saturating_add(bytes.len() as u64);
        if self.seen > self.size {
            return Err(VerifyError::TooLong { digest: self.digest, size: self.size });
        }
        self.hasher.update(bytes);
        Ok(())
    }

    /// The bytes seen so far.
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// The bytes still to come.
    pub fn remaining(&self) -> u64 {
        self.size.saturating_sub(self.seen)
    }

    /// Ends the content.
    ///
    /// # Errors
    /// [`VerifyError::TooShort`] or [`VerifyError::Mismatch`].
    pub fn finish(self) -> Result<(), VerifyError> {
        if self.seen < self.size {
            return Err(VerifyError::TooShort { digest: self.digest, seen: self.seen, size: self.size });
        }
        let found = self.hasher.finish();
        if found == self.digest {
            Ok(())
        } else {
            Err(VerifyError::Mismatch { expected: self.digest, found })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Algorithm, MediaType};

    fn descriptor(content: &[u8]) -> Descriptor {
        Descriptor::of(MediaType::OCTET_STREAM, Algorithm::Sha512, content)
    }

    #[test]
    fn accepts_the_content_and_nothing_else() {
        let descriptor = descriptor(b"content");
        let verify = |parts: &[&[u8]]| {
            let mut verifier = Verifier::new(&descriptor);
            for part in parts {
                verifier.update(part)?;
            }
            verifier.finish()
        };
        assert_eq!(verify(&[b"con", b"tent"]), Ok(()));
        assert!(matches!(verify(&[b"con"]), Err(VerifyError::TooShort { seen: 3, size: 7, .. })));
        assert!(matches!(verify(&[b"content", b"!"]), Err(VerifyError::TooLong { size: 7, .. })));
        assert!(matches!(verify(&[b"c0ntent"]), Err(VerifyError::Mismatch { .. })));
    }

    #[test]
    fn goes_on_where_another_was() {
        let descriptor = descriptor(b"content");
        let mut before = Verifier::resumable(&descriptor);
        before.update(b"con").unwrap();
        let (seen, state) = (before.seen(), before.state().unwrap());
        let mut resumed = Verifier::resume(&descriptor, seen, &state).unwrap();
        assert_eq!((resumed.seen(), resumed.remaining()), (3, 4));
        resumed.update(b"tent").unwrap();
        assert_eq!(resumed.finish(), Ok(()));
        assert!(Verifier::resume(&descriptor, 8, &state).is_none());
        assert!(Verifier::resume(&descriptor, 3, b"state").is_none());
    }
}
