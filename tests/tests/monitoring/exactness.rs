//! Every request is in Prometheus exactly once, under the right labels: held against the account of who sent it.

use std::collections::BTreeMap;

use tollgate_tests::{
    artifacts,
    world::{Options, World, load},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_counter_is_what_the_callers_counted() {
    for envoy in [artifacts::envoys().remove(0), artifacts::newest_envoy()] {
        let world = World::start(Options { envoy, ..Options::default() }).await;
        let load = world.load(&load::mixed()).await;
        world.settle(load.total()).await;
        let counted = world
            .prometheus
            .query("sum by (route, response_code, source_workload) (tollgate_requests_total) > 0")
            .await;
        let counted: BTreeMap<_, _> = counted
            .iter()
            .map(|it| {
                (["route", "response_code", "source_workload"].map(|name| it.label(name).to_owned()), it.value as u64)
            })
            .collect();
        let expected = load.by(|key| [key.route.to_owned(), key.response_code.to_string(), key.caller.to_owned()]);
        assert_eq!(counted, expected);
    }
}
