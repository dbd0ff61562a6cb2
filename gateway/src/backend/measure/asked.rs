//! The questions of a full measurement beyond a plain answer and a stream: each asks one thing and notes one finding.

use bytes::Bytes;
use http::StatusCode;
use modelgate_api::v1alpha1::Measured;
use serde_json::Value;

use super::{LARGE_BODY, LONG_SUFFIX, MANY_STOPS, Measuring};
use crate::dialect::{Abilities, Generated, Generation, Prompt, Wire};

impl Measuring<'_> {
    /// A suffix counts only when the server reads it: a long one makes the prompt longer.
    pub(super) async fn suffix(&mut self) {
        let with = Abilities { infill: true, ..self.abilities };
        let ask = |suffix: &str| Generation {
            prompt: Prompt::Infill {
                prefix: "def add(a, b):\n".into(),
                suffix: suffix.into(),
                files: Vec::new(),
            },
            ..self.ask()
        };
        let (short, long) =
            (self.answer(&ask("\n"), &with).await, self.answer(&ask(LONG_SUFFIX), &with).await);
        let tokens = |generated: &Generated| generated.usage.map(|usage| usage.prompt_tokens);
        match (short, long) {
            (Err(why), _) | (_, Err(why)) => self.found("suffix", Measured::Refused, why),
            (Ok(short), Ok(long)) => match (tokens(&short), tokens(&long)) {
                (Some(short), Some(long)) if long > short => {
                    self.abilities.infill = true;
                    self.found(
                        "suffix",
                        Measured::Supported,
                        format!("a longer one costs {} tokens", long - short),
                    );
                }
                (Some(_), Some(_)) => self.found("suffix", Measured::Absent, "it is accepted and not read"),
                _ => self.found(
                    "suffix",
                    Measured::Unknown,
                    "it is accepted; without usage nothing shows whether it is read",
                ),
            },
        }
    }

    pub(super) async fn stops(&mut self) {
        let many = Abilities { stops: MANY_STOPS, ..self.abilities };
        let stops = (0..MANY_STOPS).map(|n| format!("<stop{n}>")).collect();
        match self.answer(&Generation { stops, ..self.ask() }, &many).await {
            Ok(_) => {
                self.abilities = many;
                self.found("stops", Measured::Supported, format!("{MANY_STOPS} and perhaps more"));
            }
            Err(why) => self.found(
                "stops",
                Measured::Refused,
                format!("{MANY_STOPS} are too many; {} are sent ({why})", self.abilities.stops),
            ),
        }
    }

    pub(super) async fn choices(&mut self) {
        let answer = self.answer(&Generation { choices: 2, ..self.ask() }, &self.abilities).await;
        match answer {
            Ok(generated) if generated.choices.len() == 2 => {
                self.found("choices", Measured::Supported, "n: 2");
            }
            Ok(_) => {
                self.abilities.choices = 1;
                self.found("choices", Measured::Absent, "n: 2 is accepted and one answer given");
            }
            Err(why) => {
                self.abilities.choices = 1;
                self.found("choices", Measured::Refused, why);
            }
        }
    }

    pub(super) async fn logprobs(&mut self) {
        let answer = self.answer(&Generation { logprobs: true, ..self.ask() }, &self.abilities).await;
        match answer {
            Ok(generated) if generated.choices.iter().any(|choice| choice.logprob.is_some()) => {
                self.found("logprobs", Measured::Supported, "");
            }
            Ok(_) => self.found("logprobs", Measured::Absent, "accepted, and none given"),
            Err(why) => {
                self.abilities.logprobs = false;
                self.found("logprobs", Measured::Refused, why);
            }
        }
    }

    /// How the server says that a request is wrong.
    pub(super) async fn error_shape(&mut self) {
        let Ok(wire) = self.dialect.render(&self.ask(), &self.abilities) else { return };
        let Ok((status, body)) =
            self.send(Wire { body: Bytes::from_static(b"{}"), stream: false, ..wire }).await
        else {
            return self.found("errorShape", Measured::Unknown, "a wrong request got no answer");
        };
        let value: Option<Value> = serde_json::from_slice(&body).ok();
        let shapes = [
            ("/error/message", "error.message"),
            ("/error", "error"),
            ("/message", "message"),
            ("/detail", "detail"),
        ];
        let shape =
            value.as_ref().and_then(|value| shapes.iter().find(|(place, _)| value.pointer(place).is_some()));
        match shape {
            Some((_, shape)) if status.is_client_error() => {
                self.found("errorShape", Measured::Supported, format!("{} in {shape}", status.as_u16()));
            }
            _ => self.found("errorShape", Measured::Unknown, format!("a wrong request is answered {status}")),
        }
    }

    /// Whether the server tells its tokens.
    pub(super) async fn tokenizer(&mut self) {
        let Some(wire) = self.tokenize("def") else { return };
        match self.send(wire).await {
            Ok((status, _)) if status.is_success() => {
                self.found("tokenizer", Measured::Supported, "/tokenize");
            }
            Ok((status, _)) => self.found("tokenizer", Measured::Absent, format!("/tokenize: {status}")),
            Err(error) => self.found("tokenizer", Measured::Unknown, error.to_string()),
        }
    }

    /// White space before the body counts as body and costs no token.
    pub(super) async fn body_limit(&mut self) {
        let Ok(wire) = self.dialect.render(&self.ask(), &self.abilities) else { return };
        let mut body = vec![b' '; LARGE_BODY];
        body.extend_from_slice(&wire.body);
        match self.send(Wire { body: Bytes::from(body), ..wire }).await {
            Ok((status, _)) if status.is_success() => {
                self.found("bodyLimit", Measured::Supported, "2 MiB are read");
            }
            Ok((StatusCode::PAYLOAD_TOO_LARGE, _)) => {
                self.found("bodyLimit", Measured::Refused, "2 MiB are too much");
            }
            Ok((status, _)) => self.found("bodyLimit", Measured::Unknown, format!("2 MiB: {status}")),
            Err(error) => self.found("bodyLimit", Measured::Refused, format!("2 MiB: {error}")),
        }
    }
}
