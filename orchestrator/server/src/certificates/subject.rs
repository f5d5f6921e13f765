//! Whom a certificate stands for, read and written. rcgen's names hold one value of each attribute type, but a user is in
//! many groups, each an O of its own: so a certificate gets its subject here, and its signature anew.

use rcgen::{Issuer, KeyPair, SigningKey};
use x509_parser::x509::X509Name;
use yasna::models::ObjectIdentifier;
use yasna::{ASN1Result, BERReaderSeq, DERWriterSeq};

use super::issue::failed;
use super::{CertificateError, Subject};

const COMMON_NAME: &[u64] = &[2, 5, 4, 3];
const ORGANIZATION: &[u64] = &[2, 5, 4, 10];
/// Where the subject is among the parts of what is signed: version, serial number, algorithm, issuer, validity, subject.
const PLACE: usize = 5;

/// CN and every O of a name; `None` without CN.
pub(crate) fn read(name: &X509Name<'_>) -> Option<Subject> {
    let user = name.iter_common_name().next()?.as_str().ok()?.to_owned();
    let groups = name.iter_organization().filter_map(|group| group.as_str().ok()).map(str::to_owned).collect();
    Some(Subject { user, groups })
}

/// The same certificate for this subject, as PEM.
pub(super) fn named(
    certificate: &rcgen::Certificate,
    subject: &Subject,
    issuer: &Issuer<'_, KeyPair>,
) -> Result<String, CertificateError> {
    let parted = yasna::parse_der(certificate.der(), |reader| {
        reader.read_sequence(|reader| {
            let content = reader.next().read_sequence(parts)?;
            let algorithm = reader.next().read_der()?;
            reader.next().read_bitvec_bytes().map(|_| (content, algorithm))
        })
    });
    let (mut content, algorithm) = parted.map_err(failed(&subject.user))?;
    content[PLACE] = written(subject);
    let content = sequence(|writer| content.iter().for_each(|part| writer.next().write_der(part)));
    let signature = issuer.key().sign(&content).map_err(failed(&subject.user))?;
    let whole = sequence(|writer| {
        writer.next().write_der(&content);
        writer.next().write_der(&algorithm);
        writer.next().write_bitvec_bytes(&signature, signature.len() * 8);
    });
    Ok(pem::encode(&pem::Pem::new("CERTIFICATE", whole)))
}

/// Every part of a sequence as it is.
fn parts(reader: &mut BERReaderSeq<'_, '_>) -> ASN1Result<Vec<Vec<u8>>> {
    let mut found = Vec::new();
    while let Some(part) = reader.read_optional(|reader| reader.read_der())? {
        found.push(part);
    }
    Ok(found)
}

/// Each group an O, then the user as CN.
fn written(subject: &Subject) -> Vec<u8> {
    let groups = subject.groups.iter().map(|group| (ORGANIZATION, group));
    sequence(|writer| {
        for (attribute, text) in groups.chain([(COMMON_NAME, &subject.user)]) {
            writer.next().write_set(|writer| {
                writer.next().write_sequence(|writer| {
                    writer.next().write_oid(&ObjectIdentifier::from_slice(attribute));
                    writer.next().write_utf8_string(text);
                });
            });
        }
    })
}

fn sequence(write: impl FnOnce(&mut DERWriterSeq<'_>)) -> Vec<u8> {
    yasna::construct_der(|writer| writer.write_sequence(write))
}
