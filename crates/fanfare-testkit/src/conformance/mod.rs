//! What SNS, SQS and Kinesis do, case by case: the suite that the simulator and LocalStack both run.
//!
//! A case is a function over an [`Aws`]; it makes its own topics, queues and streams, and fails with what
//! it saw instead of what AWS documents. Error codes are checked, not only that there was an
//! error. [`CASES`] lists all of them; [`conformance_cases!`](crate::conformance_cases) hands the
//! same list to a macro that makes a test of each. Where LocalStack answers otherwise than AWS
//! documents, or where a case would take minutes of real time, the list says `differs` with the
//! reason, and the case is judged on the simulator alone.

mod attributes;
mod aws;
mod batch;
mod consumer;
mod dedup;
mod fanout;
mod fifo;
mod filter;
mod iterator;
mod kinesis;
mod lifecycle;
mod put;
mod queue;
mod receiving;
mod redrive;
mod reshard;
mod settings;
mod sizes;
mod stream;
mod visibility;

use std::fmt;

use futures_util::future::BoxFuture;

pub use aws::Aws;

/// One case of the suite.
pub struct Case {
    /// What AWS does, as a sentence.
    pub name: &'static str,
    /// Why LocalStack cannot judge the case, if it cannot.
    pub differs: Option<&'static str>,
    run: for<'a> fn(&'a Aws) -> BoxFuture<'a, anyhow::Result<()>>,
}

impl Case {
    /// The case of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        CASES.iter().find(|case| case.name == name)
    }

    /// Runs the case.
    ///
    /// # Errors
    /// What `aws` did differs from what AWS documents, or a request failed that should not.
    pub async fn run(&self, aws: &Aws) -> anyhow::Result<()> {
        (self.run)(aws).await
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Case")
            .field("name", &self.name)
            .field("differs", &self.differs)
            .finish_non_exhaustive()
    }
}

/// Calls a macro with the list of all cases, by subject:
/// `fanout { first_case, second_case differs "why", } filter { … }`.
#[macro_export]
macro_rules! conformance_cases {
    ($then:ident) => {
        $then! {
            fanout {
                a_message_reaches_all_three_queues,
                raw_delivery_passes_body_and_attributes_on,
                an_enveloped_message_is_a_notification,
                an_enveloped_message_without_attributes_has_no_such_field,
                an_unsubscribed_queue_gets_nothing,
                a_queue_that_does_not_allow_the_topic_gets_nothing
                    differs "LocalStack does not enforce queue policies",
                a_fifo_topic_feeds_a_standard_queue,
                a_standard_topic_passes_the_group_on,
            }
            filter {
                an_exact_value_matches,
                all_keys_must_match,
                a_prefix_matches,
                a_suffix_matches,
                equals_ignore_case_matches,
                anything_but_matches_the_rest,
                anything_but_a_prefix_matches_the_rest,
                a_numeric_range_matches_no_string
                    differs "LocalStack compares strings that look like numbers",
                a_numeric_range_matches,
                a_numeric_equality_matches_by_value,
                exists_matches_presence_and_absence,
                any_element_of_a_string_array_matches,
                or_matches_either_side,
                a_policy_on_the_body_looks_into_it,
                a_policy_that_is_none_is_refused,
                a_policy_with_six_keys_is_refused,
                a_changed_policy_takes_effect,
            }
            attributes {
                ten_attributes_pass_a_raw_subscription,
                with_eleven_attributes_a_message_is_published_but_not_delivered_raw
                    differs "LocalStack does not count message attributes",
                eleven_attributes_fit_an_envelope,
                sqs_takes_ten_attributes,
                sqs_refuses_eleven_attributes
                    differs "LocalStack does not count message attributes",
                attributes_of_every_type_come_back,
                sent_and_received_md5_sums_agree,
                only_the_attributes_asked_for_are_received,
                system_attributes_tell_who_when_and_how_often,
                sqs_refuses_attributes_that_are_none,
                a_number_attribute_is_a_number
                    differs "LocalStack does not parse Number attributes",
                sns_refuses_attributes_that_are_none,
            }
            sizes {
                sns_takes_a_message_at_the_limit,
                sns_refuses_a_message_over_the_limit,
                sns_counts_bytes_not_characters,
                sns_counts_the_attributes,
                sqs_takes_a_message_at_the_limit,
                sqs_refuses_a_message_over_the_limit,
                sqs_counts_the_attributes,
                a_queue_may_have_a_lower_limit,
                sqs_takes_every_character_of_xml,
                sqs_refuses_other_characters,
                an_empty_message_is_refused,
                an_sqs_batch_at_the_limit_is_taken,
                an_sqs_batch_over_the_limit_is_refused_whole,
                an_sns_batch_over_the_limit_is_refused_whole,
            }
            batch {
                a_published_batch_of_ten_arrives,
                an_sqs_entry_that_is_invalid_fails_alone,
                an_sns_entry_that_is_invalid_refuses_the_whole,
                a_batch_of_eleven_is_refused,
                an_empty_sns_batch_is_refused
                    differs "LocalStack answers with an internal error",
                an_empty_sqs_batch_is_refused,
                entry_ids_must_differ,
                an_sqs_entry_id_has_80_characters_of_a_small_set,
                an_sqs_entry_id_has_only_ascii_letters
                    differs "LocalStack takes letters of any script",
                an_sns_entry_id_has_80_characters_of_a_small_set
                    differs "LocalStack takes any entry id on SNS",
                a_delete_batch_fails_where_a_handle_is_bad,
                an_invalid_entry_is_its_sender_s_fault
                    differs "LocalStack says SenderFault false",
            }
            fifo {
                a_group_keeps_its_order,
                a_group_keeps_its_order_through_a_topic,
                a_topic_passes_group_and_deduplication_id_on,
                sequence_numbers_grow,
                a_group_waits_while_one_of_its_messages_is_in_flight,
                a_group_starts_again_with_the_message_given_back,
                a_group_starts_again_when_visibility_ends,
                one_receive_returns_several_messages_of_a_group,
                groups_do_not_wait_for_one_another,
                a_message_without_a_group_is_refused,
                a_topic_asks_for_a_deduplication_id
                    differs "LocalStack makes up a missing deduplication id",
                a_queue_asks_for_a_deduplication_id,
                a_group_id_has_128_characters_of_ascii,
                a_fifo_message_has_no_delay_of_its_own,
                a_fifo_handle_of_an_ended_visibility_deletes_nothing,
            }
            dedup {
                a_queue_swallows_a_repeated_deduplication_id,
                a_deleted_message_is_still_remembered,
                a_deduplication_id_holds_for_all_groups,
                in_high_throughput_mode_it_holds_for_one_group
                    differs "LocalStack does not deduplicate in high-throughput mode",
                after_five_minutes_it_is_forgotten
                    differs "real time: it takes five minutes",
                a_queue_can_go_by_the_body,
                a_topic_swallows_a_repeated_deduplication_id,
                a_topic_can_go_by_the_body,
            }
            visibility {
                a_message_comes_back_when_its_visibility_ends,
                a_receive_may_set_the_visibility,
                visibility_changed_to_0_gives_the_message_back,
                visibility_can_be_extended,
                visibility_has_a_limit_of_twelve_hours
                    differs "LocalStack takes any visibility timeout",
                a_visibility_batch_fails_where_a_handle_is_bad,
                a_string_that_is_no_handle_is_refused,
                a_message_can_be_deleted_twice,
                a_deleted_message_has_no_visibility_to_change,
                a_visible_message_has_no_visibility_to_change
                    differs "LocalStack changes it all the same",
                only_the_latest_handle_deletes
                    differs "LocalStack deletes by older handles too",
            }
            receiving {
                a_long_poll_wakes_when_a_message_arrives,
                a_long_poll_wakes_when_a_topic_delivers,
                a_queue_may_have_long_polls_by_default,
                an_empty_queue_answers_without_messages,
                one_receive_returns_one_message_by_default,
                one_receive_returns_ten_messages_at_most,
                one_receive_returns_one_message_at_least
                    differs "LocalStack takes 0 for the default",
                a_long_poll_lasts_twenty_seconds_at_most,
                a_receive_hides_for_twelve_hours_at_most
                    differs "LocalStack takes any visibility timeout",
                a_message_may_be_delayed,
                a_queue_may_delay_every_message,
                a_delay_has_a_limit_of_fifteen_minutes
                    differs "LocalStack takes any delay",
                a_message_is_kept_for_the_retention_period
                    differs "LocalStack keeps messages for ever by default",
                a_standard_queue_takes_a_group_id,
            }
            redrive {
                a_message_received_too_often_moves_to_the_dead_letter_queue,
                a_fifo_message_received_too_often_frees_its_group,
                a_move_task_brings_messages_back_to_their_source,
                a_move_task_can_go_to_another_queue,
                a_move_task_starts_at_a_dead_letter_queue_only,
                a_move_task_needs_a_queue_that_exists,
                a_dead_letter_queue_must_exist
                    differs "LocalStack does not look for the dead-letter queue",
                a_redrive_policy_has_both_its_fields
                    differs "LocalStack keeps the policy that it refused, and trips over it later",
                a_subscription_s_dead_letter_queue_gets_what_a_deleted_queue_cannot,
            }
            lifecycle {
                an_unknown_queue_is_named_so,
                a_queue_s_url_is_found_by_its_name,
                a_deleted_queue_is_unknown,
                a_deleted_queue_s_name_is_free_after_a_minute
                    differs "LocalStack frees the name at once by default",
                an_unknown_topic_is_not_found,
                a_deleted_topic_is_not_found,
                a_purge_empties_the_queue,
                a_queue_is_purged_once_a_minute
                    differs "LocalStack purges as often as asked by default",
                creating_a_queue_again_changes_nothing,
                creating_a_queue_again_with_other_attributes_is_refused,
                creating_a_topic_again_changes_nothing,
                creating_a_topic_again_with_other_attributes_is_refused
                    differs "LocalStack does not compare the attributes",
                names_have_their_characters_and_length,
                the_name_ends_in_fifo_where_the_attribute_says_so,
            }
            settings {
                a_queue_keeps_its_attributes,
                a_new_queue_has_the_defaults,
                a_queue_counts_its_messages,
                a_queue_refuses_values_out_of_range
                    differs "LocalStack takes any value",
                a_queue_refuses_attributes_that_it_does_not_know,
                a_subscription_keeps_its_attributes,
                an_empty_policy_takes_the_filter_away,
                subscribing_again_finds_the_subscription,
                subscribing_again_with_other_attributes_is_refused,
                a_standard_topic_does_not_feed_a_fifo_queue,
                a_topic_lists_its_subscriptions,
                a_topic_keeps_its_attributes,
                a_fifo_topic_says_so,
            }
            stream {
                a_stream_s_shards_divide_all_hash_keys,
                a_stream_on_demand_begins_with_four_shards,
                creating_a_stream_again_is_refused,
                an_unknown_stream_is_not_found_by_any_call,
                a_deleted_stream_is_gone,
                a_stream_s_name_has_its_characters,
                a_stream_goes_by_its_arn_too,
                records_are_kept_for_a_day_or_up_to_a_year,
                a_stream_keeps_its_tags,
                shards_are_listed_in_pages,
            }
            put {
                a_record_comes_back_with_its_key_and_its_data,
                results_are_in_the_order_of_the_records,
                a_key_keeps_its_order,
                sequence_numbers_of_a_shard_grow,
                an_explicit_hash_key_chooses_the_shard,
                a_hash_key_has_128_bits,
                a_partition_key_has_256_characters,
                a_batch_has_500_records_at_most
                    differs "LocalStack does not count a batch's records",
                an_empty_batch_of_records_is_refused
                    differs "LocalStack takes an empty batch",
                a_record_over_a_mebibyte_is_refused,
                a_record_s_key_counts
                    differs "LocalStack counts the data alone",
                a_batch_over_ten_mebibytes_is_refused_whole
                    differs "LocalStack does not add a batch's records up",
                a_shard_takes_a_thousand_records_a_second
                    differs "LocalStack has no limits per second",
                a_shard_takes_a_mebibyte_a_second
                    differs "LocalStack has no limits per second",
                a_put_may_ask_for_a_greater_sequence_number,
            }
            iterator {
                trim_horizon_begins_with_the_oldest_record,
                latest_begins_behind_the_newest_record,
                a_sequence_number_is_begun_at_or_after,
                a_timestamp_begins_with_the_first_record_since,
                an_iterator_behind_the_last_record_sees_the_next,
                a_read_returns_as_many_records_as_asked,
                what_is_no_iterator_is_refused
                    differs "LocalStack answers with an internal error",
                an_unknown_shard_is_not_found,
                a_place_has_to_be_given_with_its_type,
                a_sequence_number_of_another_shard_is_refused
                    differs "LocalStack says that it is not found",
                an_iterator_expires_after_five_minutes
                    differs "real time: it takes five minutes",
                a_record_is_kept_for_the_stream_s_retention_period
                    differs "real time: it takes a day",
                a_shard_is_read_five_times_a_second
                    differs "LocalStack has no limits per second",
            }
            reshard {
                a_split_divides_the_shard_s_hash_keys,
                a_split_shard_ends_and_names_its_children,
                records_behind_a_split_go_to_the_children,
                a_merge_unites_two_neighbours,
                shards_that_are_no_neighbours_are_not_merged,
                a_shard_is_split_within_its_hash_keys,
                only_open_shards_are_listed_at_latest,
                a_stream_is_scaled_by_two_at_most,
            }
            consumer {
                a_consumer_is_registered_once
                    differs "LocalStack now and then forgets a consumer while others are registered",
                a_deregistered_consumer_is_gone
                    differs "LocalStack now and then forgets a consumer while others are registered",
                a_consumer_keeps_its_stream_from_being_deleted
                    differs "LocalStack refuses to delete the stream, and deletes it",
                a_subscription_brings_what_is_there_and_what_comes
                    differs "LocalStack now and then forgets a consumer while others are registered",
                a_subscription_goes_on_behind_another
                    differs "LocalStack now and then forgets a consumer while others are registered",
                a_consumer_subscribes_to_a_shard_once_in_five_seconds
                    differs "LocalStack takes any number of subscriptions",
                a_subscription_ends_with_its_shard
                    differs "LocalStack breaks the connection instead",
                a_subscription_lasts_five_minutes
                    differs "real time: it takes five minutes",
            }
        }
    };
}

macro_rules! table {
    ($($subject:ident { $($case:ident $(differs $why:literal)?,)* })*) => {
        /// Every case, by subject.
        pub const CASES: &[Case] = &[$($(
            Case {
                name: stringify!($case),
                differs: table!(@why $($why)?),
                run: |aws| Box::pin($subject::$case(aws)),
            },
        )*)*];
    };
    (@why) => { None };
    (@why $why:literal) => { Some($why) };
}

conformance_cases!(table);
