//! Compiles the shop's protobuf contracts without `protoc`.

use std::error::Error;

const PROTOS: &[&str] = &[
    "proto/accounting.proto",
    "proto/checkout.proto",
    "proto/flags.proto",
    "proto/fraud.proto",
    "proto/health.proto",
    "proto/inventory.proto",
    "proto/orders.proto",
    "proto/payments.proto",
    "proto/probe.proto",
    "proto/products.proto",
    "proto/users.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(PROTOS, ["proto"])?;
    tonic_prost_build::configure()
        .build_client(false)
        .build_transport(false)
        .generate_default_stubs(true)
        .compile_fds(descriptors)?;
    Ok(())
}
