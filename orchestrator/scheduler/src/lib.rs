//! NOTICE (integrator, 05:27): the scheduler crate is being written by the integrator on main; do NOT write it. Finish the controllers
//! (deployment, endpoints, namespace, service account, root CA, garbage, node lifecycle) and report.
