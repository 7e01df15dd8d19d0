//! The layers beside the database: every case runs against each of them, then what is particular to one.

mod bench;
mod cases;
mod directory;
mod http;
mod mirror;
mod redis;

macro_rules! conformance {
    ($start:path: $($case:ident,)+) => {
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $case() -> anyhow::Result<()> {
                crate::layers::cases::$case(&$start().await?).await
            }
        )+
    };
}

macro_rules! every_layer {
    ($start:path) => {
        conformance! { $start:
            a_copy_comes_back_as_it_was,
            what_was_never_written_is_absent,
            a_later_state_stays_and_an_earlier_one_goes,
            each_instance_is_read_for_itself,
            what_is_removed_is_absent,
            s28_a_damaged_copy_is_named_and_set_aside,
            a_copy_under_another_name_is_no_copy,
            a_damaged_copy_keeps_nobody_from_writing_a_whole_one,
            what_cannot_be_read_is_not_absent,
            ids_are_names_and_never_paths,
            engines_show_that_they_live,
        }
    };
}

mod in_redis {
    every_layer!(crate::layers::redis::in_redis);
}

mod in_a_directory {
    every_layer!(crate::layers::directory::in_a_directory);
}

mod in_a_provider {
    every_layer!(crate::layers::http::in_a_provider);
}
