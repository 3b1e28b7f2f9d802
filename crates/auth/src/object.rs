//! JSON objects as Go reads them, in which all other tools that share these files are written: the names of members count in
//! any case, and the last of several counts. A list is no object, though serde would fill a struct from one.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};

/// What takes its members one by one.
pub(crate) trait Members: Default {
    /// Reads the value of a member into its place; whether there is one. `name` is in lower case.
    fn member<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<bool, A::Error>;
}

/// Reads an object; members that have no place are passed over.
pub(crate) fn read<'de, T: Members, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    struct Object<T>(PhantomData<T>);

    impl<'de, T: Members> Visitor<'de> for Object<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<T, A::Error> {
            let mut object = T::default();
            while let Some(name) = map.next_key::<String>()? {
                if !object.member(&name.to_ascii_lowercase(), &mut map)? {
                    map.next_value::<IgnoredAny>()?;
                }
            }
            Ok(object)
        }
    }

    deserializer.deserialize_map(Object(PhantomData))
}
