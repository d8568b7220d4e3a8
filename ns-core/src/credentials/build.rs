//! Credentials to be: what is asked for, checked as a whole.

use super::{CapSet, Capability, Credentials, Ids, SecureBits, Sets};
use crate::error::Error;
use crate::step::Mark;

/// What [`Credentials`] are made of; [`CredentialsBuilder::build`] checks that they can be had together.
#[derive(Clone, Debug)]
pub struct CredentialsBuilder {
    uid: u32,
    gid: u32,
    groups: Option<Vec<u32>>,
    ids: bool,
    sets: Sets,
    securebits: SecureBits,
    no_new_privs: bool,
}

impl Credentials {
    /// User 0, group 0, no other groups; bounding, permitted and effective sets are `bounding`, inheritable and ambient ones empty.
    pub fn root_with(bounding: CapSet) -> CredentialsBuilder {
        let sets = Sets { bounding, permitted: bounding, effective: bounding, ..Sets::default() };
        CredentialsBuilder { sets, ..Credentials::user(0, 0, []) }
    }

    /// This user with these groups, and no capabilities, nor any that an exec could give: all five sets are empty.
    pub fn user(uid: u32, gid: u32, groups: impl Into<Vec<u32>>) -> CredentialsBuilder {
        let groups = Some(groups.into());
        CredentialsBuilder { uid, gid, groups, ids: true, sets: Sets::default(), securebits: SecureBits::empty(), no_new_privs: false }
    }
}

impl Credentials {
    /// In a plan they are put on after this mark, [`Mark::JOINED`] say, instead of [`Mark::BUILT`], as [`Ids::after`].
    #[must_use]
    pub fn after(self, mark: Mark) -> Credentials {
        Credentials { ids: self.ids.map(|ids| ids.after(mark)), ..self }
    }
}

impl CredentialsBuilder {
    /// What any exec, set-user-id ones too, may give at most.
    #[must_use]
    pub fn bounding(mut self, set: CapSet) -> Self {
        self.sets.bounding = set;
        self
    }

    /// What may be made effective.
    #[must_use]
    pub fn permitted(mut self, set: CapSet) -> Self {
        self.sets.permitted = set;
        self
    }

    /// What the kernel checks.
    #[must_use]
    pub fn effective(mut self, set: CapSet) -> Self {
        self.sets.effective = set;
        self
    }

    /// What a file with the same inheritable capabilities may be given.
    #[must_use]
    pub fn inheritable(mut self, set: CapSet) -> Self {
        self.sets.inheritable = set;
        self
    }

    /// What another user than 0 keeps over exec.
    #[must_use]
    pub fn ambient(mut self, set: CapSet) -> Self {
        self.sets.ambient = set;
        self
    }

    /// `set` in all five sets, beside what is there: what another user than 0 needs to keep capabilities over exec.
    #[must_use]
    pub fn keeping(mut self, set: CapSet) -> Self {
        let sets = &mut self.sets;
        for one in [&mut sets.bounding, &mut sets.permitted, &mut sets.effective, &mut sets.inheritable, &mut sets.ambient] {
            *one |= set;
        }
        self
    }

    /// Exactly these; none is the default.
    #[must_use]
    pub fn securebits(mut self, bits: SecureBits) -> Self {
        self.securebits = bits;
        self
    }

    /// No exec gives anything, for good; where it isn't asked for, what the caller has stays.
    #[must_use]
    pub fn no_new_privs(mut self) -> Self {
        self.no_new_privs = true;
        self
    }

    /// Leaves the supplementary groups as they are: in a user namespace of a single id, where setgroups is denied.
    #[must_use]
    pub fn without_groups(mut self) -> Self {
        self.groups = None;
        self
    }

    /// Leaves user and groups as they are: for a plan where [`Ids`] are a step of their own.
    #[must_use]
    pub fn without_ids(mut self) -> Self {
        self.ids = false;
        self
    }

    /// Takes out what the calling thread's bounding set lacks, and says what that was: for a payload without a user namespace of its own.
    /// (In one of its own every capability is there.) Not calling it changes nothing but that nobody is told: what isn't there is never
    /// given.
    pub fn intersect_with_own_bounding(mut self) -> Result<(Self, CapSet), Error> {
        let own = CapSet::own_bounding()?;
        let lost = self.sets.bounding - own;
        self.sets = self.sets.within(own);
        Ok((self, lost))
    }

    /// Checks: permitted within bounding, effective within permitted, inheritable within bounding, ambient within permitted and inheritable.
    pub fn build(self) -> Result<Credentials, Error> {
        let Sets { bounding, permitted, effective, inheritable, ambient } = self.sets;
        within("permitted", permitted, "bounding", bounding)?;
        within("effective", effective, "permitted", permitted)?;
        within("inheritable", inheritable, "bounding", bounding)?;
        within("ambient", ambient, "permitted", permitted)?;
        within("ambient", ambient, "inheritable", inheritable)?;
        self.check_securebits()?;
        let ids = Ids::new(self.uid, self.gid, self.groups.clone().unwrap_or_default())?;
        let ids = if self.groups.is_none() { ids.without_groups() } else { ids };
        Ok(Credentials { ids: self.ids.then_some(ids), sets: self.sets, securebits: self.securebits, no_new_privs: self.no_new_privs })
    }

    fn check_securebits(&self) -> Result<(), Error> {
        const KEEP_CAPS: u32 = 1 << 4;
        let Sets { permitted, inheritable, ambient, .. } = self.sets;
        let why = if self.securebits.bits() & KEEP_CAPS != 0 {
            "keep_caps ends at exec"
        } else if self.securebits.contains(SecureBits::NO_AMBIENT_RAISE) && !ambient.is_empty() {
            "no_ambient_raise with an ambient set"
        } else if self.securebits.contains(SecureBits::KEEP_CAPS_LOCKED)
            && self.ids
            && self.uid != 0
            && !(permitted | inheritable).is_empty()
        {
            "keep_caps_locked loses another user's capabilities"
        } else {
            return Ok(());
        };
        Err(Error::refused(format!("credentials: securebits: {why}")))
    }
}

fn within(inner_name: &str, inner: CapSet, outer_name: &str, outer: CapSet) -> Result<(), Error> {
    let more = inner - outer;
    match Capability::ALL.get(more.first() as usize) {
        _ if more.is_empty() => Ok(()),
        Some(one) => Err(Error::refused(format!("credentials: {one} is in the {inner_name} set, not in the {outer_name} one"))),
        None => Err(Error::refused(format!("credentials: {more} is in the {inner_name} set, not in the {outer_name} one"))),
    }
}
