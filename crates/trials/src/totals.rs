//! Counts of what happened, over one run or many.

/// Makes a `Totals` of named counts that add row by row.
macro_rules! totals {
    ($($(#[$doc:meta])* $field:ident: $name:literal),* $(,)?) => {
        /// How often everything happened. Every row must be above zero over a sweep: a fault that
        /// never struck was not tried.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Totals {
            $($(#[$doc])* pub $field: u64,)*
        }

        impl Totals {
            /// Name and count of each.
            #[must_use]
            pub fn rows(&self) -> Vec<(&'static str, u64)> {
                vec![$(($name, self.$field)),*]
            }
        }

        impl std::ops::AddAssign for Totals {
            fn add_assign(&mut self, other: Self) {
                $(self.$field += other.$field;)*
            }
        }
    };
}

pub(crate) use totals;
