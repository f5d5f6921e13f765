//! What the generator of the facts reads out of Go.

#[allow(dead_code)]
#[path = "../examples/facts.rs"]
mod generator;

const PACKAGE: &str = "io.k8s.api.sample.v1";
const SOURCE: &str = r#"
package v1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// +genclient
// +genclient:nonNamespaced

// Ship is a sample.
type Ship struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty" protobuf:"bytes,1,opt,name=metadata"`
	Spec ShipSpec `json:"spec" protobuf:"bytes,2,opt,name=spec"`
}

type ShipSpec struct {
	// +optional
	// +default="sail"
	Drive Drive `json:"drive,omitempty" protobuf:"bytes,1,opt,name=drive,casttype=Drive"`
	// +listType=map
	// +listMapKey=name
	// +patchMergeKey=name
	// +patchStrategy=merge
	Crew []*Sailor `json:"crew,omitempty" patchStrategy:"merge" patchMergeKey:"name" protobuf:"bytes,2,rep,name=crew"`
	// +listType=atomic
	Route []string `json:"route" protobuf:"bytes,3,rep,name=route"`
	// +required
	Hold map[string]resource.Quantity `json:"hold" protobuf:"bytes,4,rep,name=hold"`
	Launched *metav1.Time `json:"launched,omitempty" protobuf:"bytes,5,opt,name=launched"`
	Log []byte `json:"log,omitempty" protobuf:"bytes,6,opt,name=log"`
	private int
}

// +structType=atomic
type Sailor struct {
	Name string `json:"name" protobuf:"bytes,1,opt,name=name"`
}

type Drive string
"#;

#[test]
fn tags_and_markers_become_facts() {
    let mut sources = generator::Sources::default();
    sources.read(PACKAGE, SOURCE);
    let ship = format!("{PACKAGE}.Ship");
    let expected = serde_json::json!({
        "kinds": [{"t": ship, "cluster": true}],
        "atomic": [format!("{PACKAGE}.Sailor")],
        "types": {
            (ship): {
                "TypeMeta": {"t": "io.k8s.apimachinery.pkg.apis.meta.v1.TypeMeta", "f": "i"},
                "metadata": {"t": "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta", "n": 1, "f": "o"},
                "spec": {"t": format!("{PACKAGE}.ShipSpec"), "n": 2, "f": "a"},
            },
            (format!("{PACKAGE}.ShipSpec")): {
                "drive": {"t": "string", "n": 1, "f": "o", "d": "sail"},
                "crew": {"t": format!("{PACKAGE}.Sailor"), "n": 2, "f": "l", "l": "map", "k": ["name"], "mk": "name", "ps": "merge"},
                "route": {"t": "string", "n": 3, "f": "la"},
                "hold": {"t": "quantity", "n": 4, "f": "mar"},
                "launched": {"t": "time", "n": 5, "f": "p"},
                "log": {"t": "bytes", "n": 6},
            },
            (format!("{PACKAGE}.Sailor")): {"name": {"t": "string", "n": 1, "f": "a"}},
        },
    });
    assert_eq!(sources.facts(), expected);
}
