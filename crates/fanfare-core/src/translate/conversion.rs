//! From one side's data to the other's.

use std::fmt::Display;

use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, value::RawValue};

use super::{TranslateError, error::shown};
use crate::envelope::read_data;

/// What becomes of the data.
pub(super) enum Conversion {
    /// Nothing: both sides write it alike.
    AsIs,
    With(Convert),
}

type Convert = Box<dyn Fn(&RawValue) -> Result<Box<RawValue>, Problem> + Send + Sync>;

pub(super) enum Problem {
    /// The data does not fit the conversion's type, at this path.
    Data(String, String),
    /// The conversion refused it, or what it gave cannot be written.
    Refused(String),
}

impl Conversion {
    /// By a function between types.
    pub(super) fn typed<T, U, E>(
        convert: impl Fn(T) -> Result<U, E> + Send + Sync + 'static,
    ) -> Self
    where
        T: DeserializeOwned,
        U: Serialize,
        E: Display,
    {
        Conversion::With(Box::new(move |data| {
            let from = read_data(data.get())
                .map_err(|misfit| Problem::Data(misfit.path, misfit.problem))?;
            let to = convert(from).map_err(|error| Problem::Refused(error.to_string()))?;
            serde_json::value::to_raw_value(&to)
                .map_err(|error| Problem::Refused(error.to_string()))
        }))
    }

    /// By a function on JSON.
    pub(super) fn json(
        convert: impl Fn(Value) -> Result<Value, String> + Send + Sync + 'static,
    ) -> Self {
        Conversion::typed::<Value, Value, String>(convert)
    }

    /// Converts the data of `tag`.
    pub(super) fn apply(
        &self,
        format: &'static str,
        tag: &str,
        data: Box<RawValue>,
    ) -> Result<Box<RawValue>, TranslateError> {
        let Conversion::With(convert) = self else { return Ok(data) };
        let tag = || shown(tag);
        convert(&data).map_err(|problem| match problem {
            Problem::Data(path, problem) => {
                TranslateError::Data { format, tag: tag(), path, problem }
            }
            Problem::Refused(problem) => TranslateError::Refused { format, tag: tag(), problem },
        })
    }
}
