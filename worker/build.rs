//! Builds `harvest-scan`, which the worker carries with it into every sandbox, as a program that needs no library there.
//!
//! It is a build of its own, with its own target folder: statically linked whatever the worker is, and optimised even when the
//! worker is not, because it reads every file of a prebuild.

use std::error::Error;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

/// What separates arguments in cargo's variable for compiler flags.
const SEPARATOR: &str = "\x1f";
const STATIC: &str = "-Ctarget-feature=+crt-static";

fn main() -> Result<(), Box<dyn Error>> {
    let workspace = PathBuf::from(variable("CARGO_MANIFEST_DIR")?).join("..");
    for input in ["shared/scan/src", "shared/scan/Cargo.toml", "Cargo.toml", "Cargo.lock"] {
        println!("cargo::rerun-if-changed={}", workspace.join(input).display());
    }
    if variable("CARGO_CFG_TARGET_OS")? != "linux" {
        return Err("the scanner runs in sandboxes, which are Linux: build the worker for Linux".into());
    }
    let (target, folder) = (variable("TARGET")?, PathBuf::from(variable("OUT_DIR")?).join("scan"));
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
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
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
    let program = folder.join(target).join("release/harvest-scan");
    println!("cargo::rustc-env=HARVEST_SCAN_PROGRAM={}", program.display());
    Ok(())
}

fn variable(name: &str) -> Result<String, Box<dyn Error>> {
    let value: Option<OsString> = std::env::var_os(name);
    value.and_then(|value| value.into_string().ok()).ok_or_else(|| format!("cargo did not set {name}").into())
}
