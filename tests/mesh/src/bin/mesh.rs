//! `make mesh`: a mesh to play with, until Ctrl-C.

use std::time::Instant;

use tollgate_mesh::{
    Mesh,
    istio::GATEWAY_HTTP,
    mesh::{FRIEND, HOST, NAMESPACE, PORT, STRANGER},
    parts, process,
};

fn main() {
    process::become_if_asked();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let start = Instant::now();
        let say = |step: &str| eprintln!("[{:5.1} s] {step}", start.elapsed().as_secs_f64());
        tokio::select! {
            mut mesh = Mesh::start(say) => {
                say("ready\n");
                introduce(&mesh);
                tokio::signal::ctrl_c().await.expect("signals can be waited for");
                mesh.assert_runs();
            }
            _ = tokio::signal::ctrl_c() => {}
        }
        eprintln!("\nstopped");
    });
}

fn introduce(mesh: &Mesh) {
    let (friend, stranger) = (mesh.friend.listener(PORT), mesh.stranger.listener(PORT));
    let kubectl = parts::kubernetes("kubectl");
    println!("In another terminal:\n");
    println!(
        "  export KUBECONFIG={} PATH={}:$PATH",
        mesh.kubectl().kubeconfig().display(),
        kubectl.parent().expect("a directory").display()
    );
    println!("  kubectl get wasmplugins,pods -n {NAMESPACE}");
    println!("\nCall load-balancer as {FRIEND}, which may, and as {STRANGER}, which may not:\n");
    println!("  curl -i -H 'host: {HOST}' http://{friend}/posts/7");
    println!("  curl -i -H 'host: {HOST}' http://{stranger}/posts/7");
    println!("\nCome in from outside, by the ingress gateway:\n");
    println!("  curl -i http://{}/posts/7", mesh.gateway.listener(GATEWAY_HTTP));
    println!("\nChange a policy; it is in force at once:\n");
    println!("  kubectl edit wasmplugin rate-limit -n {NAMESPACE}");
    println!("  kubectl apply -k {}", mesh.manifests().join("overlays/local-bound").display());
    println!("\nLook at load-balancer's proxy, its metrics, and all logs:\n");
    println!("  curl -s http://{}/config_dump | less", mesh.server.admin());
    println!("  curl -s http://{}/stats/prometheus | grep ^tollgate", mesh.server.admin());
    println!("  tail -f {}/*.log", mesh.logs().display());
    println!("\nCtrl-C ends everything and deletes its files.");
}
