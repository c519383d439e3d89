//! What happens between `kubectl apply` and Envoy, in one mesh that all tests share, one after the other.
//!
//! Each test leaves the mesh as the manifests have it. The mesh is started once and ended with this program, which is
//! why these tests have a harness of their own; its arguments are those of `cargo test`.

use std::{
    cell::{Cell, RefCell},
    path::PathBuf,
    process::ExitCode,
    rc::Rc,
    time::Instant,
};

use libtest_mimic::{Arguments, Failed, Trial};
use tokio::runtime::{Builder, Runtime};
use tollgate_mesh::{Mesh, process};

mod adding;
mod dashboards;
mod doctor;
mod gateway;
mod load;
mod manifests;
mod native;
mod policy;
mod request;
mod supply;
mod telemetry;

/// The mesh, and what its servers and clients run on.
type Running = Rc<RefCell<(Runtime, Mesh)>>;

thread_local! {
    /// Trials are to be `Send`, and all of them run on this thread.
    static MESH: RefCell<Option<Running>> = const { RefCell::new(None) };
    /// Whether a test has failed; while one runs, it has not succeeded yet.
    static FAILED: Cell<bool> = const { Cell::new(false) };
}

/// A trial of each function, under its own name.
macro_rules! trials {
    ($($module:ident::$test:ident),* $(,)?) => {
        vec![$(trial(concat!(stringify!($module), "::", stringify!($test)), async |mesh: &mut Mesh| $module::$test(mesh).await)),*]
    };
}

fn main() -> ExitCode {
    process::become_if_asked();
    let mut arguments = Arguments::from_args();
    // The mesh is one, and the kernel ends its processes with this thread.
    arguments.test_threads = Some(1);
    let trials = trials![
        manifests::every_checker_takes_the_manifests,
        manifests::a_mistake_is_refused_before_it_is_stored,
        manifests::injection_carries_limits_and_stats_tags_into_the_sidecar,
        request::the_filters_stand_in_the_chain_in_the_order_of_the_manifests,
        request::an_identity_that_is_listed_passes_and_another_gets_403,
        request::a_hundred_a_minute_holds_and_the_metrics_say_so,
        policy::an_edited_limit_is_in_force_within_two_seconds_and_keeps_the_buckets_fill,
        policy::a_module_is_replaced_under_load_and_the_bucket_stays,
        policy::a_new_module_takes_over_from_an_old_one_beside_it,
        policy::an_authorization_policy_stands_between_identity_and_limits,
        policy::a_plugin_that_comes_or_goes_is_missed_by_one_request_of_each_open_connection_at_most,
        telemetry::istiod_makes_of_the_telemetry_what_the_tests_of_logs_and_traces_take_for_granted,
        native::a_converted_envoy_filter_admits_what_the_filter_itself_did,
        native::tokens_that_istio_verifies_decide_and_are_limited_by_their_claims,
        policy::enforcement_goes_on_while_the_control_plane_is_away,
        dashboards::istiod_answers_what_the_dashboards_ask_of_it,
        gateway::a_gateway_checks_limits_and_counts_its_clients_and_tells_the_server_who_they_are,
        adding::one_line_adds_all_filters_in_shadow_and_a_patch_enforces_them,
        supply::modules_are_pulled_by_tag_by_digest_and_over_http,
        supply::a_wrong_digest_refuses_or_admits_as_the_fail_strategy_says,
        supply::a_refused_configuration_leaves_the_former_one_in_force,
        supply::a_module_that_traps_admits_or_refuses_as_the_fail_strategy_says,
        supply::a_sidecar_that_starts_while_the_registry_is_away_fails_as_each_plugin_says,
        doctor::a_healthy_mesh_is_healthy_and_what_cannot_be_asked_is_said,
        doctor::what_is_wrong_in_the_resources_is_mended_by_the_command_it_says,
        doctor::what_only_the_proxy_knows_is_found_there,
        doctor::a_registry_that_is_away_is_named_and_the_cure_fetches_again,
    ];
    let runs = !arguments.list && trials.iter().any(|trial| !arguments.is_filtered_out(trial));
    if runs {
        let runtime = Builder::new_multi_thread().enable_all().build().expect("a runtime");
        let start = Instant::now();
        let say = |step: &str| eprintln!("[{:5.1} s] {step}", start.elapsed().as_secs_f64());
        let mesh = runtime.block_on(async {
            tokio::select! {
                mesh = Mesh::start(say) => Some(mesh),
                _ = tokio::signal::ctrl_c() => None,
            }
        });
        let Some(mesh) = mesh else { return ExitCode::FAILURE };
        say("the mesh is ready");
        runtime.spawn(end_when_interrupted(mesh.directory().to_owned()));
        MESH.with(|slot| slot.replace(Some(Rc::new(RefCell::new((runtime, mesh))))));
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    MESH.with(RefCell::take);
    conclusion.exit_code()
}

/// The kernel ends the processes with this one; the files are left to us.
async fn end_when_interrupted(directory: PathBuf) {
    if tokio::signal::ctrl_c().await.is_ok() {
        let _ = std::fs::remove_dir_all(directory);
        std::process::exit(130);
    }
}

fn trial(name: &str, test: impl AsyncFn(&mut Mesh) + Send + 'static) -> Trial {
    Trial::test(name, move || {
        if FAILED.replace(true) {
            return Err("not run, as an earlier test failed and left the mesh in between".into());
        }
        let mesh = MESH.with(|slot| slot.borrow().clone()).ok_or_else(|| Failed::from("the mesh runs"))?;
        let (runtime, mesh) = &mut *mesh.borrow_mut();
        runtime.block_on(async {
            test(mesh).await;
            mesh.assert_runs();
        });
        FAILED.set(false);
        Ok(())
    })
}
