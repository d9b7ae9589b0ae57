//! The generated protobuf contracts, one module per package. Packages refer to each other by their full path, so the
//! version is a module of its own.

/// Generated code follows the generator's rules, not ours.
macro_rules! package {
    ($name:ident, $package:literal) => {
        pub mod $name {
            #[allow(
                clippy::all,
                clippy::pedantic,
                unreachable_pub,
                missing_debug_implementations
            )]
            pub mod v1 {
                tonic::include_proto!($package);
            }
            pub use v1::*;
        }
    };
}

package!(accounting, "accounting.v1");
package!(checkout, "checkout.v1");
package!(flags, "flags.v1");
package!(fraud, "fraud.v1");
package!(health, "grpc.health.v1");
package!(inventory, "inventory.v1");
package!(orders, "orders.v1");
package!(payments, "payments.v1");
package!(probe, "probe.v1");
package!(products, "products.v1");
package!(users, "users.v1");
