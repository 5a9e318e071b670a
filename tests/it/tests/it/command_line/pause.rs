//! The kill switches, from the command line.

use crate::command_line::served::served;

#[test]
fn an_existing_scope_is_paused_and_unpaused_and_a_mistyped_one_is_rejected() {
    let served = served();
    let run = |arguments: &[&str]| {
        let output = served.run(arguments, "");
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(said).unwrap())
    };
    served.text(&["policy", "push", "policies", "--yes"], "");
    for typo in [["--ou", "ou-fb01-sandbox2"], ["--account", "999999999990"], ["--rule", "nobody"]]
    {
        let (code, said) = run(&["pause", typo[0], typo[1]]);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains("nothing was paused") && said.contains("help: "), "{said}");
    }
    let (code, said) = run(&["pause", "--list"]);
    assert_eq!((code, said.trim()), (Some(0), "nothing is paused"));
    let (code, said) = run(&["pause", "--ou", "ou-fb01-sandbox1", "--reason", "a game day"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("paused") && said.contains("a game day"), "{said}");
    let (code, said) = run(&["unpause", "--ou", "ou-fb01-sandbox1"]);
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = run(&["unpause", "--ou", "ou-fb01-sandbox1"]);
    assert_eq!(code, Some(1), "{said}");
}
