//! VolumeAttributesClass: properties of volumes that a driver can change while they are in use.

use super::json::{is_empty, text};
use super::storage_class::{frozen, validate_parameters, validate_provisioner};
use super::table::{AGE, NAME, age, name, string};
use super::{Kind, PLAIN, Problem, Scope, metadata, names};

pub static VOLUME_ATTRIBUTES_CLASS: Kind = Kind {
    group: "storage.k8s.io",
    kind: "VolumeAttributesClass",
    plural: "volumeattributesclasses",
    singular: "volumeattributesclass",
    short_names: &["vac"],
    scope: Scope::Cluster,
    schema: "io.k8s.api.storage.v1.VolumeAttributesClass",
    storage: "storage.k8s.io/volumeattributesclasses",
    validate: |class| {
        let mut problems = metadata::validate(class, Scope::Cluster, names::subdomain);
        problems.extend(validate_provisioner(text(&class["driverName"]), "driverName"));
        problems.extend(validate_parameters(&class["parameters"]));
        if is_empty(&class["parameters"]) {
            problems.push(Problem::required("parameters", "must contain at least one key/value pair"));
        }
        problems
    },
    validate_update: |new, old| {
        let mut problems = metadata::validate_update(new, old);
        problems.extend(frozen(new, old, &["driverName", "parameters"]));
        problems
    },
    columns: &[NAME, string("DriverName", "Name of the CSI driver"), AGE],
    row: |class, now| vec![name(class), text(&class["driverName"]).into(), age(class, now)],
    ..PLAIN
};
