//! Every step for real, in forked children with mount namespaces of their own.

mod bind;
mod boot;
mod idmap;
mod lock;
mod root;
mod sysfs;
mod tmpfs;
