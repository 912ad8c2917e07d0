//! A claim check on S3.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use aws_sdk_s3::{Client, operation::get_object::GetObjectOutput, types::ChecksumAlgorithm};
use bytes::Bytes;
use fanfare_core::{Backoff, ClaimCheck, ClaimCheckError, Pointer};
use tokio::time::{sleep, timeout};

use crate::{
    Aws,
    failure::{Class, Failure},
};

/// Bytes of a payload that are taken by default. S3 has 5 GiB in one request; this is about memory.
const MAX_BYTES: u64 = 64 * 1024 * 1024;

/// How often a request is tried that fails for a while.
const ATTEMPTS: u32 = 4;

/// Between its tries.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));

/// How long a request may take, and its payload on top of that: bytes in a second, at least.
const PATIENCE: Duration = Duration::from_secs(10);
const SLOWEST: u64 = 4 * 1024 * 1024;

/// Keeps payloads that are too large for a message in S3: under a
/// [`ClaimCheckPublisher`](fanfare_core::ClaimCheckPublisher), and for
/// [`Consumer::claim_check`](fanfare_core::Consumer::claim_check). Cheap to clone. With the feature `s3`.
///
/// ```no_run
/// # use fanfare_aws::{Aws, AwsPublisher};
/// # use fanfare_core::{ClaimCheckPublisher, Consumer, Router};
/// # use fanfare_topology::Bindings;
/// # fn example(router: Router, aws: &Aws, bindings: Bindings) {
/// let store = aws.claim_check(&bindings).allow_bucket("invoices-of-others");
/// let publisher = ClaimCheckPublisher::new(AwsPublisher::new(aws.clone(), bindings), store.clone());
/// let consumer = Consumer::from(router).publisher(publisher).claim_check(store);
/// # }
/// ```
///
/// Pointers are those of AWS's extended clients for Java and Python, which can read what is published here
/// and publish what is read here. A payload costs one request to store and one for each time that it is
/// read; what fails for a while is tried four times, and then the message is tried again.
///
/// # What is trusted
/// Pointers come with messages, so whoever may send one chooses bucket and key. Nothing is read but from
/// this bucket and those that were [allowed](Self::allow_bucket), and no more than
/// [`max_bytes`](Self::max_bytes).
///
/// # Checksums
/// S3 checks what is stored against a CRC-64/NVME. What is read is checked while it arrives against
/// whatever checksum S3 has of it: every object that an SDK of 2025 or later has stored has one, older ones
/// need not. The size that the message states is compared in any case.
///
/// # Memory
/// Storing copies the payload once. Reading takes its bytes once, as S3 says its size beforehand: a worker
/// that handles `n` deliveries at once has up to `n` payloads in memory, of at most
/// [`max_bytes`](Self::max_bytes) each.
///
/// # The bucket
/// - Private, and with a lifecycle rule that lets objects expire later than any message that can point to
///   them: queue and dead-letter queue keep up to 14 days each.
///   [`Deployment::claim_check`](fanfare_topology::deploy::Deployment::claim_check) makes it. Nothing here deletes an object, as other subscribers, redeliveries and dead letters may need it; let
///   extended clients that consume beside not do that either (`cleanupS3Payload` in Java,
///   `delete_payload_from_s3` in Python).
/// - Who publishes needs `s3:PutObject` on its objects, who consumes `s3:GetObject`; where they are
///   encrypted with a key of KMS, `kms:GenerateDataKey` to publish and `kms:Decrypt` to consume. Without `s3:ListBucket` S3 answers for an object that has expired as for one that is denied:
///   its message is then tried until its attempts are used up.
#[derive(Clone, Debug)]
pub struct S3ClaimCheck {
    client: Client,
    bucket: Arc<str>,
    prefix: Arc<str>,
    allowed: Arc<BTreeSet<String>>,
    max_bytes: u64,
}

/// What became of one try.
enum Trouble {
    /// It may be gone at the next.
    Passing(ClaimCheckError),
    Lasting(ClaimCheckError),
}

use Trouble::{Lasting, Passing};

impl S3ClaimCheck {
    /// Stores to `bucket`, and reads from it; [`Aws::claim_check`] knows the system's own. No request is
    /// made.
    #[must_use]
    pub fn new(aws: &Aws, bucket: impl Into<Arc<str>>) -> Self {
        S3ClaimCheck {
            client: aws.s3(),
            bucket: bucket.into(),
            prefix: "".into(),
            allowed: Arc::default(),
            max_bytes: MAX_BYTES,
        }
    }

    /// What the keys of stored payloads begin with, such as `payloads/`; by default nothing.
    #[must_use]
    pub fn prefix(self, prefix: impl Into<Arc<str>>) -> Self {
        S3ClaimCheck { prefix: prefix.into(), ..self }
    }

    /// Reads from this bucket too: of others, who publish what is consumed here.
    #[must_use]
    pub fn allow_bucket(mut self, bucket: impl Into<String>) -> Self {
        Arc::make_mut(&mut self.allowed).insert(bucket.into());
        self
    }

    /// The largest payload that is stored or read, in bytes; by default 64 MiB. A larger one is refused
    /// before it is sent or arrives.
    #[must_use]
    pub fn max_bytes(self, bytes: u64) -> Self {
        S3ClaimCheck { max_bytes: bytes, ..self }
    }

    fn fits(&self, bytes: u64) -> Result<(), ClaimCheckError> {
        let limit = self.max_bytes;
        if bytes <= limit { Ok(()) } else { Err(ClaimCheckError::TooLarge { bytes, limit }) }
    }

    async fn store(&self, key: &str, payload: Bytes) -> Result<(), Trouble> {
        let patience = patience(size(payload.len()));
        let request = self.client.put_object().bucket(&*self.bucket).key(key);
        let request = request.checksum_algorithm(ChecksumAlgorithm::Crc64Nvme);
        let sent = timeout(patience, request.body(payload.into()).send()).await;
        let failure = match sent {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(error)) => Failure::of(&error),
            Err(_) => Failure::transient("no answer in time", ""),
        };
        let bucket = &self.bucket;
        Err(match failure.class {
            Class::NotFound => missing(bucket),
            Class::Denied => {
                denied(bucket, "s3:PutObject, and use of its key where it has one", &failure)
            }
            Class::Transient => unavailable(bucket, &failure),
            Class::Refused => Lasting(ClaimCheckError::Refused(failure.to_string())),
        })
    }

    async fn fetch(&self, pointer: &Pointer) -> Result<String, Trouble> {
        let Pointer { bucket, key, .. } = pointer;
        let request = self.client.get_object().bucket(bucket).key(key);
        let failure = match timeout(PATIENCE, request.send()).await {
            Ok(Ok(found)) => return self.read(found, pointer).await,
            Ok(Err(error)) => Failure::of(&error),
            Err(_) => Failure::transient("no answer in time", ""),
        };
        Err(match failure.class {
            Class::NotFound if failure.code == "NoSuchBucket" => missing(bucket),
            Class::NotFound => Lasting(ClaimCheckError::Gone { pointer: pointer.clone() }),
            Class::Denied => denied(
                bucket,
                "s3:GetObject, and use of its key where it has one; without s3:ListBucket a payload that has expired looks the same",
                &failure,
            ),
            Class::Transient => unavailable(bucket, &failure),
            Class::Refused => Lasting(ClaimCheckError::Refused(failure.to_string())),
        })
    }

    /// Reads a payload as it arrives; the SDK compares its checksum meanwhile.
    async fn read(&self, found: GetObjectOutput, pointer: &Pointer) -> Result<String, Trouble> {
        let announced = found.content_length().and_then(|bytes| u64::try_from(bytes).ok());
        let announced = announced.unwrap_or(0);
        self.fits(announced).map_err(Lasting)?;
        let mut payload = Vec::with_capacity(usize::try_from(announced).unwrap_or(0));
        let mut body = found.body;
        let broken = |said: &str| unavailable(&pointer.bucket, &Failure::transient(said, ""));
        let corrupt = |problem: &str| ClaimCheckError::Corrupt {
            pointer: pointer.clone(),
            problem: problem.into(),
        };
        let read = async {
            while let Some(chunk) = body.next().await {
                match chunk {
                    Ok(chunk) => {
                        self.fits(size(payload.len() + chunk.len())).map_err(Lasting)?;
                        payload.extend_from_slice(&chunk);
                    }
                    // All of it is there, so that it is no connection that broke.
                    Err(_) if announced > 0 && size(payload.len()) == announced => {
                        return Err(Passing(corrupt("its checksum is another")));
                    }
                    Err(_) => return Err(broken("the connection broke")),
                }
            }
            Ok(())
        };
        match timeout(patience(announced), read).await {
            Ok(read) => read?,
            Err(_) => return Err(broken("it does not arrive in time")),
        }
        if size(payload.len()) < announced {
            return Err(broken("it ended early"));
        }
        String::from_utf8(payload).map_err(|_| Lasting(corrupt("it is not UTF-8")))
    }
}

impl ClaimCheck for S3ClaimCheck {
    async fn put(&self, key: &str, payload: &str) -> Result<Pointer, ClaimCheckError> {
        self.fits(size(payload.len()))?;
        let key = format!("{}{key}", self.prefix);
        // The tries share it.
        let payload = Bytes::copy_from_slice(payload.as_bytes());
        tried(|| self.store(&key, payload.clone())).await?;
        Ok(Pointer::new(&*self.bucket, key))
    }

    async fn get(&self, pointer: &Pointer) -> Result<String, ClaimCheckError> {
        let Pointer { bucket, .. } = pointer;
        if *bucket != *self.bucket && !self.allowed.contains(bucket) {
            return Err(ClaimCheckError::NotAllowed { bucket: bucket.clone() });
        }
        tried(|| self.fetch(pointer)).await
    }
}

/// Does it as often as it takes.
async fn tried<T, A>(attempt: impl Fn() -> A + Send + Sync) -> Result<T, ClaimCheckError>
where
    A: Future<Output = Result<T, Trouble>> + Send,
{
    for number in 1..ATTEMPTS {
        match attempt().await {
            Ok(done) => return Ok(done),
            Err(Lasting(error)) => return Err(error),
            Err(Passing(error)) => tracing::debug!(%error, "tried again"),
        }
        sleep(BACKOFF.delay(number)).await;
    }
    attempt().await.map_err(|(Passing(error) | Lasting(error))| error)
}

fn missing(bucket: &str) -> Trouble {
    Lasting(ClaimCheckError::Unavailable(format!(
        "bucket `{bucket}` is missing: make it, private and with a lifecycle that lets payloads expire"
    )))
}

fn denied(bucket: &str, rights: &str, failure: &Failure) -> Trouble {
    Lasting(ClaimCheckError::Unavailable(format!(
        "access to bucket `{bucket}` is denied ({failure}): allow {rights}"
    )))
}

fn unavailable(bucket: &str, failure: &Failure) -> Trouble {
    Passing(ClaimCheckError::Unavailable(format!("bucket `{bucket}`: {failure}")))
}

/// How long so many bytes may take.
fn patience(bytes: u64) -> Duration {
    PATIENCE + Duration::from_secs(bytes / SLOWEST)
}

fn size(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}
