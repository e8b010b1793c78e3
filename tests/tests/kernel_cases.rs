//! The packet cases through the program that the kernel has verified.
#![allow(clippy::unwrap_used, reason = "a failed test panics")]

mod cases;

use cases::{case, kernel, kernel::Kernels, native::Native, surroundings, table, world::Family};
use lb_tests::lab::{Lab, Topology};

/// A tenth of what the verifier of Linux looks at before it gives up.
const VERIFIED_INSTRUCTIONS: u32 = 100_000;
/// Of programs for IPv6: extension headers and longer addresses multiply what comes after them.
const VERIFIED_INSTRUCTIONS_OF_IPV6: u32 = 400_000;

#[test]
fn every_row_holds_and_the_flow_tables_are_those_of_the_native_run() {
    let lab = Lab::dual_stack("kernel-cases", Topology { backends: 3, client_addresses: 1 }).unwrap();
    surroundings::prepare(&lab).unwrap();
    let failures: Vec<String> = lab
        .balancer()
        .run(|| {
            let mut kernels = Kernels::default();
            let mut run = |family| -> Vec<String> {
                let rows = table::of(family);
                rows.iter().filter_map(|row| differences(row, family, &mut kernels)).collect()
            };
            Ok([run(Family::V4), run(Family::V6)].concat())
        })
        .unwrap();
    assert!(failures.is_empty(), "{} rows fail\n{}", failures.len(), failures.join("\n"));
    lab.teardown().unwrap();
}

fn differences(row: &case::Case, family: Family, kernels: &mut Kernels) -> Option<String> {
    let world = row.world.of(family);
    let native = case::run(row, family, &mut Native::new(&world));
    let kernel = case::run(row, family, kernels.at(&world));
    match (native, kernel) {
        (Ok(native), Ok(kernel)) if native == kernel => None,
        (Ok(native), Ok(kernel)) => Some(format!(
            "{} ({family:?})\n  flows, native {native:?}\n  flows, kernel {kernel:?}",
            row.sentence
        )),
        (Err(difference), _) => Some(format!("native: {difference}")),
        (_, Err(difference)) => Some(format!("kernel: {difference}")),
    }
}

#[test]
fn the_verifier_has_an_easy_time() {
    for (program, info) in kernel::infos() {
        let verified = info.verified_instruction_count().unwrap();
        println!("{program}: {verified} verified instructions, {:?} bytes", info.size_translated());
        let most = if program.ends_with('6') { VERIFIED_INSTRUCTIONS_OF_IPV6 } else { VERIFIED_INSTRUCTIONS };
        assert!(verified < most, "{program}: {verified} verified instructions");
    }
}
