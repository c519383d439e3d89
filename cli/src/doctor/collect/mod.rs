//! Finding out: from the API server, from files, from proxies. Nothing here waits for longer than it was told to.

mod admin;
pub(super) mod cluster;
mod kubectl;

use std::path::Path;
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use indicatif::ProgressBar;
use sha2::{Digest as _, Sha256};
use tokio::time::sleep;

use self::admin::At;
use self::kubectl::Kubectl;
use super::facts::{Build, Facts, Source, Unseen, Wanted};
use super::proxy::{Content, Proxy};
use super::series::{Counters, Series};
use crate::args::doctor::DoctorArguments;
use crate::args::image::{ImageArguments, ImageForm};
use crate::image::Image;
use crate::input::Inputs;
use crate::mesh::modules::{hex, module_name};
use crate::problem::{Notices, Problem, Problems};
use crate::resources::Resources;
use crate::schema::Filter;

/// Proxies that are looked at at once.
const AT_ONCE: usize = 4;

/// Everything that can be found out.
pub async fn facts(arguments: &DoctorArguments) -> Result<Facts, Problems> {
    let progress = ProgressBar::new_spinner();
    progress.enable_steady_tick(Duration::from_millis(120));
    let facts = collect(arguments, &progress).await;
    progress.finish_and_clear();
    facts
}

async fn collect(arguments: &DoctorArguments, progress: &ProgressBar) -> Result<Facts, Problems> {
    let mut facts = Facts { modules: builds(arguments)?, ..Facts::default() };
    let mut places: Vec<At> = arguments.admins.iter().map(|admin| At::Port(admin.clone())).collect();
    if !arguments.files.is_empty() {
        let documents = Inputs::open(&arguments.files)?.read()?;
        let resources = Resources::from_documents(documents, &mut Notices::default())?;
        facts.wanted = Some(Wanted { source: Source::Files, resources });
    } else if arguments.asks_cluster() {
        progress.set_message("asking the API server");
        let kubectl = Kubectl::find(arguments)?;
        cluster::read(&kubectl, arguments.namespace.as_deref(), &mut facts).await?;
        if places.is_empty() {
            places = cluster::selected(&facts).map(|pod| At::pod(&kubectl, pod)).collect();
        }
    }
    look(&places, arguments, progress, &mut facts).await;
    if !arguments.admins.is_empty() {
        let missed: Vec<Unseen> = cluster::selected(&facts)
            .map(super::facts::Pod::id)
            .filter(|id| !facts.proxies.iter().any(|proxy| proxy.name == *id))
            .map(|proxy| Unseen { proxy, reason: "no --admin leads to it".to_owned(), by_choice: true })
            .collect();
        facts.unseen.extend(missed);
    }
    Ok(facts)
}

/// Looks at all proxies, and after a while at their metrics again.
async fn look(places: &[At], arguments: &DoctorArguments, progress: &ProgressBar, facts: &mut Facts) {
    let total = places.len();
    let mut looks =
        stream::iter(places.iter().map(|place| async move { (place, first_look(place, arguments.timeout).await) }))
            .buffer_unordered(AT_ONCE);
    let mut done = 0_usize;
    let mut proxies: Vec<(&At, Proxy)> = Vec::new();
    while let Some((place, result)) = looks.next().await {
        done = done.saturating_add(1);
        progress.set_message(format!("looked at {done} of {total} proxies"));
        match (result, place) {
            (Ok(proxy), _) => proxies.push((place, proxy)),
            (Err(reason), At::Port(_)) => facts.dead.push(place.unreachable(&reason)),
            (Err(reason), At::Pod { .. }) => {
                facts.unseen.push(Unseen { proxy: place.name(), reason, by_choice: false });
            }
        }
    }
    if !arguments.watch.is_zero() && !proxies.is_empty() {
        progress.set_message(format!("watching the metrics of {} proxies for {:?}", proxies.len(), arguments.watch));
        sleep(arguments.watch).await;
        let looks = proxies.iter_mut().map(|(place, proxy)| async move {
            let text = place.get("/stats/prometheus", arguments.timeout).await;
            proxy.looks.second = text.ok().map(|text| Series::parse(&text));
        });
        stream::iter(looks).buffer_unordered(AT_ONCE).collect::<Vec<()>>().await;
    }
    facts.proxies = proxies.into_iter().map(|(_, proxy)| proxy).collect();
    facts.proxies.sort_by(|a, b| a.name.cmp(&b.name));
    facts.unseen.sort_by(|a, b| a.proxy.cmp(&b.proxy));
}

async fn first_look(place: &At, timeout: Duration) -> Result<Proxy, String> {
    let json = async |path: &str| {
        let text = place.get(path, timeout).await?;
        // Whatever writes lines of its own before: pilot-agent logs to the same stream.
        let json = text.find('{').and_then(|start| text.get(start..)).unwrap_or_default();
        serde_json::from_str(json)
            .map_err(|error| format!("{path} is not what Envoy's admin interface answers: {error}"))
    };
    let server_info = json("/server_info").await?;
    let mut proxy = Proxy::read(&json("/config_dump").await?, &server_info, &place.name());
    proxy.looks.first = Series::parse(&place.get("/stats/prometheus", timeout).await?);
    proxy.counters = Counters::parse(&place.get("/stats?filter=%5Ewasm%5C.", timeout).await?);
    if place.is_this_machine() {
        read_files(&mut proxy);
    }
    Ok(proxy)
}

/// The digests of modules that lie on this machine.
fn read_files(proxy: &mut Proxy) {
    let inline = proxy.listeners.iter_mut().flat_map(|it| &mut it.chains).flat_map(|chain| chain.inline.values_mut());
    for content in proxy.extensions.values_mut().chain(inline) {
        let Content::Wasm(wasm) = content else { continue };
        let bytes =
            wasm.file.as_deref().filter(|file| Path::new(file).is_absolute()).and_then(|file| std::fs::read(file).ok());
        wasm.file_sha256 = bytes.map(|bytes| hex(&Sha256::digest(&bytes)));
    }
}

/// The digests that the modules on the command line can be known by.
fn builds(arguments: &DoctorArguments) -> Result<Vec<Build>, Problems> {
    let mut builds = Vec::new();
    for module in &arguments.modules {
        let path = module.display().to_string();
        let filter =
            module.file_name().and_then(|name| name.to_str()).and_then(module_name).and_then(Filter::of_module);
        let Some(filter) = filter else {
            return Err(Problem::new(format!("--module {path}: its name says none of Tollgate's filters"))
                .cure("name a file like dist/rate-limit.wasm")
                .into());
        };
        let image = |form| Image::of(&ImageArguments { module: module.clone(), form, annotations: Vec::new() });
        let (layer, artifact) = (image(ImageForm::Layer)?, image(ImageForm::Artifact)?);
        builds.push(Build {
            path,
            filter: Some(filter),
            images: vec![layer.sha256().to_owned(), artifact.sha256().to_owned()],
            module: layer.module_sha256,
        });
    }
    Ok(builds)
}
