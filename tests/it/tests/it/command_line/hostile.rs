//! The program on hostile files: a message and an exit code, never a panic.

use std::fs;

use crate::command_line::offline::{folder, run};
use crate::command_line::served::served;

/// Files that no service and no editor wrote.
fn files() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("empty", Vec::new()),
        ("nul", vec![0; 1 << 20]),
        ("no-utf8", b"{\"id\": \"\xff\xfe\"}".to_vec()),
        ("deep", "[".repeat(10_000).into_bytes()),
        ("truncated", b"{\"detail\": {\"id\": \"f-1\"".to_vec()),
        ("twice", b"{\"type\": \"a\", \"type\": \"b\", \"service\": {}}".to_vec()),
        ("forged", b"{\"type\": \"Recon:EC2/x\\nerror: all is well\", \"service\": {}, \"id\": \"\\u001b[2J\"}".to_vec()),
        ("many", format!("[{}0]", "0,".repeat(200_000)).into_bytes()),
    ]
}

#[test]
fn the_commands_that_need_no_aws_explain_hostile_files() {
    let folder = folder("hostile");
    for (name, bytes) in files() {
        let path = folder.join(name);
        fs::write(&path, &bytes).unwrap();
        let path = path.to_str().unwrap();
        for arguments in [
            &["policy", "check", path][..],
            &[
                "policy",
                "explain",
                "--event",
                path,
                "--policies",
                "policies",
                "--ou-path",
                "r-fb01",
            ],
            &["policy", "test", path],
            &["findings", "parse", path],
        ] {
            let (code, out, err) = run(arguments);
            let parse = arguments[0] == "findings";
            let explains =
                if parse { out.contains("rejected") } else { err.starts_with("error: ") };
            assert!(explains, "{name}: {arguments:?} {code:?} {out:.300} {err:.300}");
            let expected =
                if parse { matches!(code, Some(0)) } else { matches!(code, Some(1 | 2)) };
            assert!(expected, "{name}: {arguments:?} {code:?} {err:.300}");
            assert!(!err.contains("panicked") && !err.contains('\u{1b}'), "{name}: {err:.300}");
            assert!(!err.contains("\nerror: all is well"), "{name}: {err:.300}");
        }
    }
}

#[test]
fn a_packed_file_without_end_is_not_unpacked_to_its_end() {
    use std::io::Write;
    let path = folder("bomb").join("bomb.gz");
    let file = fs::File::create(&path).unwrap();
    let mut packed = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
    let block = vec![b' '; 1 << 20];
    for _ in 0..300 {
        packed.write_all(&block).unwrap();
    }
    packed.finish().unwrap();
    let (code, _, err) = run(&["findings", "parse", path.to_str().unwrap()]);
    assert_eq!((code, err.contains("unpacks to more than 256 MiB")), (Some(2), true), "{err}");
}

#[test]
fn respond_explains_a_hostile_event_and_calls_nothing() {
    let served = served();
    served.world.organization.forget_calls();
    let folder = folder("hostile-respond");
    for (name, bytes) in files() {
        let path = folder.join(name);
        fs::write(&path, &bytes).unwrap();
        let output = served.run(&["respond", "--event", path.to_str().unwrap()], "");
        let error = String::from_utf8_lossy(&output.stderr);
        let code = output.status.code();
        assert!(matches!(code, Some(1 | 2)), "{name}: {code:?} {error:.300}");
        assert!(error.starts_with("error: "), "{name}: {error:.300}");
        assert!(!error.contains("panicked") && !error.contains('\u{1b}'), "{name}: {error:.300}");
        assert!(!error.contains("\nerror: all is well"), "{name}: {error:.300}");
    }
    assert_eq!(served.world.organization.calls().len(), 0);
}
