//! Builds `harvest-scan`, which the worker carries with it into every sandbox, as a program that needs no library there.
//!
//! It is a build of its own, with its own target folder: statically linked whatever the worker is, and optimised even when the
//! worker is not, because it reads every file of a prebuild. Where the worker is only linted there is none: that takes as long again.

use std::error::Error;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What separates arguments in cargo's variable for compiler flags.
const SEPARATOR: &str = "\x1f";
const STATIC: &str = "-Ctarget-feature=+crt-static";
const WRAPPER: &str = "RUSTC_WORKSPACE_WRAPPER";
/// What that is under `cargo clippy`, which checks and never makes a program.
const LINTER: &str = "clippy-driver";
const NEVER_RUN: &str = "The scanner is not built where the worker is only linted.\n";

fn main() -> Result<(), Box<dyn Error>> {
    let workspace = PathBuf::from(variable("CARGO_MANIFEST_DIR")?).join("..");
    for input in ["shared/scan/src", "shared/scan/Cargo.toml", "Cargo.toml", "Cargo.lock"] {
        println!("cargo::rerun-if-changed={}", workspace.join(input).display());
    }
    println!("cargo::rerun-if-env-changed={WRAPPER}");
    if variable("CARGO_CFG_TARGET_OS")? != "linux" {
        return Err("the scanner runs in sandboxes, which are Linux: build the worker for Linux".into());
    }
    let out = PathBuf::from(variable("OUT_DIR")?);
    if linted() {
        let stand_in = out.join("not-built");
        std::fs::write(&stand_in, NEVER_RUN)?;
        name(&stand_in);
        return Ok(());
    }
    let (target, folder) = (variable("TARGET")?, out.join("scan"));
    let mut flags = std::env::var_os("CARGO_ENCODED_RUSTFLAGS").filter(|flags| !flags.is_empty());
    if let Some(flags) = &mut flags {
        flags.push(SEPARATOR);
    }
    let mut flags = flags.unwrap_or_default();
    flags.push(STATIC);
    let mut cargo = Command::new(variable("CARGO")?);
    cargo
        .current_dir(&workspace)
        .args(["build", "--release", "--locked", "--package", "scan", "--bin", "harvest-scan"])
        .args(["--features", "program"])
        .arg("--target")
        .arg(&target)
        .arg("--target-dir")
        .arg(&folder)
        .env("CARGO_ENCODED_RUSTFLAGS", flags)
        // The worker's linking takes long enough.
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        // A wrapper that lints, or lists dependencies, is about the outer build.
        .env_remove(WRAPPER)
        .env_remove("CARGO_BUILD_TARGET")
        .env_remove("CARGO_TARGET_DIR");
    let output =
        cargo.output().map_err(|error| format!("cargo could not be run for the scanner: {error}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!(
            "the scanner could not be built; it is linked statically, which needs the C library's static half (libc6-dev, glibc-static):\n{said}"
        )
        .into());
    }
    name(&folder.join(target).join("release/harvest-scan"));
    Ok(())
}

/// Whether this is a build for clippy; cargo keeps what it makes apart from every other.
fn linted() -> bool {
    let wrapper = std::env::var_os(WRAPPER).map(PathBuf::from);
    wrapper.is_some_and(|wrapper| wrapper.file_stem().is_some_and(|name| name == LINTER))
}

/// Tells the worker's sources where the program is.
fn name(program: &Path) {
    println!("cargo::rustc-env=HARVEST_SCAN_PROGRAM={}", program.display());
}

fn variable(name: &str) -> Result<String, Box<dyn Error>> {
    let value: Option<OsString> = std::env::var_os(name);
    value.and_then(|value| value.into_string().ok()).ok_or_else(|| format!("cargo did not set {name}").into())
}
