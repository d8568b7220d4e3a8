//! What a tree says of itself.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nskit_launcher::guest::{MachineId, OsRelease, RootUser};

fuzz_target!(|data: &[u8]| {
    let _ = OsRelease::parse(data).title();
    let _ = RootUser::parse(data).logins();
    if let Some(id) = MachineId::parse(data) {
        assert_eq!(MachineId::new(id.to_bytes()), Some(id));
    }
});
