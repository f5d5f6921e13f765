//! A container's environment, command and arguments: references to other objects resolved, `$(NAME)` expanded, with the
//! kubelet's errors. `start.rs` asks; `variables.rs` has the pure part of Services.

use std::collections::{BTreeMap, HashMap};

use amphipod_api::quantity;
use k8s_openapi::api::core::v1::{ConfigMap, Container, EnvVar, Pod, ResourceFieldSelector, Secret, Service};
use kube::{Api, Client};
use serde_json::Value;

/// Why a container has no environment (`CreateContainerConfigError`).
pub type Problem = String;

/// Where references lead.
pub struct Sources<'a> {
    pub client: &'a Client,
    pub pod: &'a Pod,
    pub pod_ip: String,
    pub host_ip: String,
    /// Services of the pod's namespace and `default/kubernetes`.
    pub services: Vec<std::sync::Arc<Service>>,
    /// What the node has: the limits of a container that names none.
    pub node: &'a Value,
}

type Data = BTreeMap<String, Vec<u8>>;

/// Reads each ConfigMap and Secret once.
struct Reader<'a> {
    sources: &'a Sources<'a>,
    read: HashMap<(bool, String), Option<Data>>,
}

/// The container's variables in a stable order: Services, then `envFrom`, then `env`; later ones win.
///
/// # Errors
/// What is missing, in the kubelet's words.
pub async fn environment(container: &Container, sources: &Sources<'_>) -> Result<Vec<(String, String)>, Problem> {
    let mut variables = Variables::default();
    let spec = sources.pod.spec.as_ref();
    let links = spec.and_then(|spec| spec.enable_service_links).unwrap_or(true);
    for service in &sources.services {
        let kubernetes = service.metadata.name.as_deref() == Some("kubernetes")
            && service.metadata.namespace.as_deref() == Some("default");
        if links || kubernetes {
            service_variables(service, &mut variables);
        }
    }
    let mut reader = Reader { sources, read: HashMap::new() };
    for from in container.env_from.iter().flatten() {
        let prefix = from.prefix.as_deref().unwrap_or_default();
        let (secret, name, optional) = match (&from.config_map_ref, &from.secret_ref) {
            (Some(map), _) => (false, &map.name, map.optional),
            (_, Some(secret)) => (true, &secret.name, secret.optional),
            _ => continue,
        };
        for (key, value) in reader.data(secret, name, optional.unwrap_or(false)).await?.unwrap_or_default() {
            variables.set(&format!("{prefix}{key}"), String::from_utf8_lossy(&value).into_owned());
        }
    }
    for variable in container.env.iter().flatten() {
        if let Some(value) = one(variable, container, &mut reader, &variables).await? {
            variables.set(&variable.name, value);
        }
    }
    Ok(variables.0)
}

async fn one(
    variable: &EnvVar,
    container: &Container,
    reader: &mut Reader<'_>,
    so_far: &Variables,
) -> Result<Option<String>, Problem> {
    let Some(from) = &variable.value_from else {
        return Ok(Some(expand(variable.value.as_deref().unwrap_or_default(), |name| so_far.get(name))));
    };
    let pod = reader.sources.pod;
    if let Some(field) = &from.field_ref {
        return field_value(&field.field_path, reader.sources).map(Some);
    }
    if let Some(resource) = &from.resource_field_ref {
        return resource_value(reader.sources, Some(container), resource).map(Some);
    }
    let (secret, name, key, optional) = match (&from.config_map_key_ref, &from.secret_key_ref) {
        (Some(map), _) => (false, &map.name, &map.key, map.optional),
        (_, Some(secret)) => (true, &secret.name, &secret.key, secret.optional),
        _ => return Ok(None),
    };
    let optional = optional.unwrap_or(false);
    let data = reader.data(secret, name, optional).await?;
    match data.and_then(|data| data.get(key).cloned()) {
        Some(value) => Ok(Some(String::from_utf8_lossy(&value).into_owned())),
        None if optional => Ok(None),
        None => {
            let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
            let kind = if secret { "Secret" } else { "ConfigMap" };
            Err(format!("couldn't find key {key} in {kind} {namespace}/{name}"))
        }
    }
}

impl Reader<'_> {
    async fn data(&mut self, secret: bool, name: &str, optional: bool) -> Result<Option<Data>, Problem> {
        let key = (secret, name.to_owned());
        if !self.read.contains_key(&key) {
            let namespace = self.sources.pod.metadata.namespace.as_deref().unwrap_or_default();
            let data = if secret {
                secret_data(self.sources.client, namespace, name).await
            } else {
                config_map_data(self.sources.client, namespace, name).await
            };
            self.read.insert(key.clone(), data.map_err(|error| error.to_string())?);
        }
        match self.read.get(&key).cloned().flatten() {
            None if !optional => {
                let kind = if secret { "secret" } else { "configmap" };
                Err(format!("{kind} {name:?} not found"))
            }
            data => Ok(data),
        }
    }
}

/// `None`: there is no such object.
pub async fn config_map_data(client: &Client, namespace: &str, name: &str) -> kube::Result<Option<Data>> {
    let map = Api::<ConfigMap>::namespaced(client.clone(), namespace).get_opt(name).await?;
    Ok(map.map(|map| {
        let text = map.data.into_iter().flatten().map(|(key, value)| (key, value.into_bytes()));
        text.chain(map.binary_data.into_iter().flatten().map(|(key, value)| (key, value.0))).collect()
    }))
}

pub async fn secret_data(client: &Client, namespace: &str, name: &str) -> kube::Result<Option<Data>> {
    let secret = Api::<Secret>::namespaced(client.clone(), namespace).get_opt(name).await?;
    Ok(secret.map(|secret| secret.data.into_iter().flatten().map(|(key, value)| (key, value.0)).collect()))
}

/// Variables in the order of their first setting.
#[derive(Debug, Default)]
pub struct Variables(pub Vec<(String, String)>);

impl Variables {
    pub fn set(&mut self, name: &str, value: String) {
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name.to_owned(), value)),
        }
    }

    pub fn get(&self, name: &str) -> Option<String> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
    }
}

/// Upstream's rule: `$(NAME)` is the value when there is one and stays as it is otherwise; `$$` is one `$`.
pub fn expand(text: &str, value: impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let reference = after.strip_prefix('(').and_then(|inner| inner.split_once(')'));
        rest = match (after.chars().next(), reference) {
            (Some('$'), _) => {
                out.push('$');
                &after[1..]
            }
            (_, Some((name, tail))) => {
                out.push_str(&value(name).unwrap_or_else(|| format!("$({name})")));
                tail
            }
            _ => {
                out.push('$');
                after
            }
        };
    }
    out.push_str(rest);
    out
}

/// `REDIS_SERVICE_HOST`, `REDIS_SERVICE_PORT` and the Docker link forms.
pub fn service_variables(service: &Service, variables: &mut Variables) {
    let Some(spec) = &service.spec else { return };
    let Some(ip) = spec.cluster_ip.as_deref().filter(|ip| !ip.is_empty() && *ip != "None") else { return };
    let upper = |name: &str| name.to_uppercase().replace('-', "_");
    let name = upper(service.metadata.name.as_deref().unwrap_or_default());
    let ports: Vec<_> = spec.ports.iter().flatten().collect();
    let Some(first) = ports.first() else { return };
    variables.set(&format!("{name}_SERVICE_HOST"), ip.to_owned());
    variables.set(&format!("{name}_SERVICE_PORT"), first.port.to_string());
    for port in &ports {
        if let Some(port_name) = port.name.as_deref().filter(|name| !name.is_empty()) {
            variables.set(&format!("{name}_SERVICE_PORT_{}", upper(port_name)), port.port.to_string());
        }
    }
    for (index, port) in ports.iter().enumerate() {
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        let url = format!("{}://{ip}:{}", protocol.to_lowercase(), port.port);
        if index == 0 {
            variables.set(&format!("{name}_PORT"), url.clone());
        }
        let stem = format!("{name}_PORT_{}_{protocol}", port.port);
        variables.set(&stem, url);
        variables.set(&format!("{stem}_PROTO"), protocol.to_lowercase());
        variables.set(&format!("{stem}_PORT"), port.port.to_string());
        variables.set(&format!("{stem}_ADDR"), ip.to_owned());
    }
}

/// A field of the pod, for `fieldRef`.
///
/// # Errors
/// A path that the kubelet would not know either.
pub fn field_value(path: &str, sources: &Sources<'_>) -> Result<String, Problem> {
    let meta = &sources.pod.metadata;
    let spec = sources.pod.spec.as_ref();
    let entry = |map: &Option<BTreeMap<String, String>>, key: &str| {
        map.as_ref().and_then(|map| map.get(key).cloned()).unwrap_or_default()
    };
    let keyed = |prefix: &str| path.strip_prefix(prefix)?.strip_prefix("['")?.strip_suffix("']");
    if let Some(key) = keyed("metadata.labels") {
        return Ok(entry(&meta.labels, key));
    }
    if let Some(key) = keyed("metadata.annotations") {
        return Ok(entry(&meta.annotations, key));
    }
    let lines = |map: &Option<BTreeMap<String, String>>| {
        let lines: Vec<String> = map.iter().flatten().map(|(key, value)| format!("{key}={value:?}")).collect();
        lines.join("\n")
    };
    Ok(match path {
        "metadata.name" => meta.name.clone().unwrap_or_default(),
        "metadata.namespace" => meta.namespace.clone().unwrap_or_default(),
        "metadata.uid" => meta.uid.clone().unwrap_or_default(),
        "metadata.labels" => lines(&meta.labels),
        "metadata.annotations" => lines(&meta.annotations),
        "spec.nodeName" => spec.and_then(|spec| spec.node_name.clone()).unwrap_or_default(),
        "spec.serviceAccountName" => spec.and_then(|spec| spec.service_account_name.clone()).unwrap_or_default(),
        "status.hostIP" | "status.hostIPs" => sources.host_ip.clone(),
        "status.podIP" | "status.podIPs" => sources.pod_ip.clone(),
        _ => return Err(format!("unsupported fieldPath: {path}")),
    })
}

/// An amount that a container asks for, for `resourceFieldRef`; `container` is the one meant when none is named.
///
/// # Errors
/// A container or a resource that there is not.
pub fn resource_value(
    sources: &Sources<'_>,
    container: Option<&Container>,
    field: &ResourceFieldSelector,
) -> Result<String, Problem> {
    let pod = sources.pod;
    let named = field.container_name.as_deref().filter(|name| !name.is_empty());
    let mut all = pod.spec.iter().flat_map(|spec| spec.containers.iter().chain(spec.init_containers.iter().flatten()));
    let container = match named {
        Some(name) => all.find(|container| container.name == name),
        None => container,
    };
    let container = container.ok_or_else(|| format!("container {} not found", named.unwrap_or_default()))?;
    let (kind, name) = field.resource.split_once('.').unwrap_or(("", ""));
    let resources = container.resources.clone().unwrap_or_default();
    let amounts = match kind {
        "limits" => resources.limits,
        "requests" => resources.requests,
        _ => return Err(format!("unsupported container resource : {}", field.resource)),
    };
    let amount = amounts.and_then(|amounts| amounts.get(name).map(|amount| amount.0.clone()));
    let whole_node = || sources.node[name].as_str().filter(|_| kind == "limits").map(str::to_owned);
    let parsed = amount.or_else(whole_node).and_then(|amount| quantity::milli(&amount)).unwrap_or(0);
    let divisor = field
        .divisor
        .as_ref()
        .and_then(|divisor| quantity::milli(&divisor.0))
        .filter(|divisor| *divisor > 0)
        .unwrap_or(1_000);
    Ok((i128::from(parsed) + i128::from(divisor) - 1).div_euclid(i128::from(divisor)).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn references_expand_as_upstream_says() {
        let value = |name: &str| (name == "A").then(|| "x".to_owned());
        let cases = [
            ("$(A)", "x"),
            ("$(B)", "$(B)"),
            ("$$(A)", "$(A)"),
            ("$$$(A)", "$x"),
            ("$A $", "$A $"),
            ("$(A", "$(A"),
            ("a$(A)b$(A)", "axbx"),
            ("€$(A)€", "€x€"),
        ];
        for (text, expected) in cases {
            assert_eq!(expand(text, value), expected, "{text}");
        }
    }

    #[test]
    fn a_service_gives_its_link_variables() {
        let service = json!({"metadata": {"name": "my-db"}, "spec": {"clusterIP": "10.0.0.5", "ports": [{"name": "p-q", "port": 80, "protocol": "TCP"}]}});
        let mut variables = Variables::default();
        service_variables(&serde_json::from_value(service).unwrap(), &mut variables);
        let lines: Vec<String> = variables.0.iter().map(|(name, value)| format!("{name}={value}")).collect();
        expect_test::expect![[r#"
            MY_DB_SERVICE_HOST=10.0.0.5
            MY_DB_SERVICE_PORT=80
            MY_DB_SERVICE_PORT_P_Q=80
            MY_DB_PORT=tcp://10.0.0.5:80
            MY_DB_PORT_80_TCP=tcp://10.0.0.5:80
            MY_DB_PORT_80_TCP_PROTO=tcp
            MY_DB_PORT_80_TCP_PORT=80
            MY_DB_PORT_80_TCP_ADDR=10.0.0.5"#]]
        .assert_eq(&lines.join("\n"));
    }
}
