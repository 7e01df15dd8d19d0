//! The conformance suite of the store: every case runs against every kind of database.

pub(crate) mod bench;
mod copies;
mod dead_letters;
mod deliveries;
mod faults;
mod fleet;
mod foreign;
mod instances;
mod leases;
mod load;
mod postgres;
mod secrets;
mod sends;
mod server;
mod sessions;
mod settings;
mod sqlite;
mod upkeep;
mod webhooks;

macro_rules! cases {
    ($start:path: $($file:ident { $($case:ident,)+ })+) => {
        $($(
            #[tokio::test(flavor = "multi_thread")]
            async fn $case() -> anyhow::Result<()> {
                crate::store::$file::$case(crate::store::bench::Bench::new($start()?).await?).await
            }
        )+)+
    };
}

macro_rules! conformance {
    ($start:path) => {
        cases! { $start:
            instances {
                an_inserted_instance_is_read_back,
                a_name_is_taken_only_once_under_any_client_name,
                a_refused_insert_leaves_nothing_behind,
                the_list_is_ours_and_the_most_recently_online_comes_first,
                a_patch_changes_only_what_it_names,
                long_texts_are_cut_to_their_columns,
                the_end_of_a_login_is_stored_as_evolution_does,
                s19_what_the_operator_wants_survives_a_restart,
                deleting_removes_everything_but_what_is_queued,
                no_row_says_open_after_a_restart,
                proxy_and_chatwoot_are_shown_in_full,
                a_row_that_cannot_be_read_hides_no_other,
                a_proxy_is_replaced_and_says_whether_it_changed,
                an_unknown_instance_is_named_as_such,
            }
            webhooks {
                a_webhook_is_created_then_replaced,
                disabling_a_webhook_drops_what_waits_for_it,
                nothing_is_queued_for_what_is_no_web_address,
                an_unreadable_list_of_events_is_an_error,
            }
            settings {
                settings_are_replaced_and_a_text_that_is_not_given_stays,
                an_instance_without_settings_is_not_one_that_does_not_exist,
            }
            sessions {
                each_claim_fences_the_earlier_one_off,
                only_an_owner_writes,
                a_batch_clears_then_writes_in_order,
                a_batch_is_written_whole_or_not_at_all,
                values_survive_a_restart,
                many_values_are_read_at_once,
                a_scan_is_in_order_and_within_its_prefix,
                clearing_deletes_what_it_counts,
                a_message_is_accepted_once_and_its_event_queued_once,
                a_message_without_its_content_is_told_until_it_comes,
                a_message_may_have_any_id,
                an_archived_session_is_unpaired_and_kept_for_a_while,
                a_paired_session_without_a_device_is_corrupt,
                old_ids_of_messages_are_forgotten,
                younger_ids_of_messages_are_kept,
            }
            leases {
                a_new_instance_belongs_to_the_node_that_made_it,
                what_was_let_go_is_written_by_nobody_until_it_is_adopted,
                what_has_waited_longest_is_adopted_first,
                an_archived_session_stays_with_its_node,
                instances_of_another_program_are_adopted_and_those_of_another_installation_are_not,
                what_nobody_owns_can_be_written_by_hand,
                a_node_is_listed_until_it_leaves,
            }
            secrets {
                nothing_secret_is_readable_in_the_files,
                another_key_does_not_open_the_database,
                a_damaged_value_is_an_error_and_never_absent,
                a_value_in_another_row_is_an_error,
                s28_a_damaged_device_is_an_error_and_not_overwritten,
                a_device_of_another_instance_is_an_error,
            }
            foreign {
                a_database_of_evolution_is_usable_as_it_is,
                foreign_credentials_are_left_alone,
                foreign_credentials_are_kept_when_a_new_device_is_paired,
                credentials_that_another_program_put_over_ours_are_an_error,
            }
            deliveries {
                only_what_was_asked_for_is_queued,
                both_spellings_of_group_updates_are_understood,
                each_instance_delivers_in_order,
                a_retry_holds_up_what_follows_it,
                a_dead_letter_lets_the_next_one_go,
                the_target_is_the_present_webhook,
                queued_events_survive_a_restart_with_their_ids,
                appending_wakes_the_dispatcher,
                what_is_as_old_as_a_dead_letter_goes_along,
                it_is_told_for_each_instance_how_much_waits,
                a_row_that_cannot_be_read_is_named_and_can_be_put_aside,
                headers_that_cannot_be_read_are_the_webhooks_fault,
                old_dead_letters_are_forgotten,
            }
            dead_letters {
                letters_are_shown_in_pages_the_oldest_first,
                a_redriven_letter_goes_before_what_came_later,
                letters_of_a_disabled_webhook_stay,
                letters_of_an_instance_that_is_gone_go_where_they_were_to_go,
                only_what_was_chosen_is_redriven_or_discarded,
                more_letters_than_one_step_takes_are_all_redriven,
                redriving_wakes_the_dispatcher,
            }
            sends {
                a_key_is_kept_with_its_first_request,
                a_final_answer_is_kept_and_not_replaced,
                a_message_may_have_left_from_each_beginning_until_it_is_known_not_to,
                requests_with_keys_survive_a_restart,
                of_many_requests_with_one_key_one_is_the_first,
                an_answer_that_cannot_be_read_is_an_error,
                deleting_an_instance_forgets_its_keys,
                old_keys_are_forgotten,
            }
            copies {
                a_copy_holds_the_whole_session_and_nothing_readable,
                what_has_no_login_has_no_copy,
                what_is_damaged_is_not_copied,
                a_copy_is_adopted_by_an_emptied_database_without_its_sessions,
                a_copy_of_the_databases_state_changes_nothing,
                s28_a_copy_of_the_same_state_repairs_damage_exactly,
                a_newer_or_an_older_copy_gives_its_sessions_up,
                a_login_that_ended_or_was_deleted_does_not_come_back,
                what_another_node_owns_or_another_instance_is_called_is_left_alone,
                a_login_that_was_set_back_goes_on_from_itself_beyond_what_was_seen,
                a_copy_of_an_earlier_login_does_not_replace_a_later_one,
                a_copy_that_was_tampered_with_is_not_adopted,
                a_copy_from_before_a_change_of_the_key_is_put_under_the_new_one,
                the_survey_is_of_this_installation_and_tells_times,
                a_database_has_a_name_and_remembers_others_once_it_has_a_login,
            }
            load {
                twenty_instances_write_and_read_at_once,
                a_refused_batch_takes_no_other_with_it,
                dropping_the_callers_cancels_nothing,
                callers_on_actix_threads_may_come_and_go,
                a_closed_store_has_finished_and_answers_no_more,
                it_answers_a_ping,
            }
            faults {
                planned_faults_happen_and_heal,
            }
        }
    };
}
mod on_sqlite {
    conformance!(crate::store::bench::SqliteFile::new);
}

mod on_postgres {
    conformance!(crate::store::server::OnServer::new);
}
