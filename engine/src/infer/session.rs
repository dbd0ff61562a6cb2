//! The computing state of a model: keys and values of several sequences, fed one sequence at a time.
//!
//! Each call computes tokens of one sequence only. Mixing sequences in a batch would give more tokens a second, but
//! the order of floating-point additions, and so the answer to a request with a seed, would depend on its neighbours.

use std::num::NonZeroU32;

use llama_cpp_2::{
    context::{LlamaContext, params::LlamaContextParams},
    llama_batch::LlamaBatch,
    sampling::LlamaSampler,
};

use super::model::{Model, Token};

/// Tokens of a prompt that are computed at once. Other requests wait that long, and a client's leaving is seen after it.
pub const CHUNK: usize = 256;

/// How much a session holds.
#[derive(Debug, Clone, Copy)]
pub struct SessionOptions {
    /// Tokens of each sequence.
    pub context_length: u32,
    /// Number of sequences.
    pub sequences: u16,
    /// Threads that compute.
    pub threads: u16,
}

/// Why computing failed.
#[derive(Debug, thiserror::Error)]
#[error("llama.cpp: {0}")]
pub struct SessionError(String);

/// Keys and values of all sequences, and the logits of the last token fed.
pub struct Session<'model> {
    context: LlamaContext<'model>,
    batch: LlamaBatch<'static>,
}

impl<'model> Session<'model> {
    /// Allocates the memory for all sequences.
    ///
    /// # Errors
    /// When the memory does not suffice: a smaller `--context-length` or `--parallel` helps.
    pub fn new(model: &'model Model, options: &SessionOptions) -> Result<Self, SessionError> {
        let (llama, backend) = model.handles();
        let sequences = u32::from(options.sequences);
        let chunk = u32::try_from(CHUNK).unwrap_or(u32::MAX);
        let threads = i32::from(options.threads.min(512).cast_signed());
        let params = LlamaContextParams::default()
            .with_n_ctx(NonZeroU32::new(options.context_length.saturating_mul(sequences)))
            .with_n_seq_max(sequences)
            .with_kv_unified(false)
            .with_n_batch(chunk)
            .with_n_ubatch(chunk)
            .with_n_threads(threads)
            .with_n_threads_batch(threads)
            .with_no_perf(true);
        let context = llama.new_context(backend, params).map_err(|error| SessionError(error.to_string()))?;
        Ok(Self { context, batch: LlamaBatch::new(CHUNK, 1) })
    }

    /// Forgets a sequence.
    ///
    /// # Errors
    /// When the library refuses; the sequence must then not be used.
    pub fn clear(&mut self, sequence: u16) -> Result<(), SessionError> {
        match self.context.clear_kv_cache_seq(Some(sequence.into()), None, None) {
            Ok(true) => Ok(()),
            Ok(false) => Err(SessionError(format!("sequence {sequence} could not be cleared"))),
            Err(error) => Err(SessionError(error.to_string())),
        }
    }

    /// Computes at most [`CHUNK`] tokens of `sequence` that stand from `position` on.
    ///
    /// # Errors
    /// When the sequence is full or the library fails.
    pub fn feed(&mut self, sequence: u16, position: usize, tokens: &[Token]) -> Result<(), SessionError> {
        let fail = |error: &dyn std::fmt::Display| SessionError(error.to_string());
        self.batch.clear();
        for (index, token) in tokens.iter().enumerate() {
            let at = i32::try_from(position + index).map_err(|error| fail(&error))?;
            let last = index + 1 == tokens.len();
            self.batch.add(*token, at, &[i32::from(sequence)], last).map_err(|error| fail(&error))?;
        }
        self.context.decode(&mut self.batch).map_err(|error| fail(&error))
    }

    /// The next token after the last one fed, as `sampler` chooses it.
    pub fn sample(&self, sampler: &mut LlamaSampler) -> Token {
        sampler.sample(&self.context, self.batch.n_tokens() - 1)
    }
}
