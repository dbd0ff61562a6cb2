//! How the next token is chosen from the model's logits.

use llama_cpp_2::sampling::LlamaSampler;

/// Choices of a request, already checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Sampling {
    /// 0 takes the most likely token always.
    pub temperature: f32,
    /// Smallest set of tokens whose probabilities reach this sum; 1 is all.
    pub top_p: f32,
    /// Number of most likely tokens; 0 is all.
    pub top_k: i32,
    /// Taken from a token's logit if it was generated before.
    pub presence_penalty: f32,
    /// Taken from a token's logit for each time it was generated before.
    pub frequency_penalty: f32,
    /// Start of the random numbers.
    pub seed: u32,
}

impl Sampling {
    /// The library's sampler for these choices.
    #[must_use]
    pub fn sampler(&self, vocabulary: i32, context_length: u32) -> LlamaSampler {
        let mut chain = Vec::with_capacity(5);
        if self.presence_penalty != 0.0 || self.frequency_penalty != 0.0 {
            let window = i32::try_from(context_length).unwrap_or(i32::MAX);
            chain.push(LlamaSampler::penalties(
                vocabulary,
                window,
                1.0,
                self.frequency_penalty,
                self.presence_penalty,
            ));
        }
        if self.temperature <= 0.0 {
            chain.push(LlamaSampler::greedy());
        } else {
            // The temperature comes first, as the OpenAI API and vLLM do it: top_p is of the tempered probabilities.
            chain.push(LlamaSampler::temp(self.temperature));
            if self.top_k > 0 {
                chain.push(LlamaSampler::top_k(self.top_k));
            }
            if self.top_p < 1.0 {
                chain.push(LlamaSampler::top_p(self.top_p, 1));
            }
            chain.push(LlamaSampler::dist(self.seed));
        }
        LlamaSampler::chain_simple(chain)
    }
}
