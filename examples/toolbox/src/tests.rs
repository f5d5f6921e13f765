//! Scripts, what they print on both streams, and their exit codes; argv as containers write it.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use crate::io::Io;
use crate::shell::Shell;

/// What this argv prints and answers, in an empty folder, on 2024-02-29 at 12:34:56.
fn told(words: &[&str]) -> (String, i32) {
    let name = std::thread::current().name().unwrap_or_default().replace("::", "-");
    let folder = std::env::temp_dir().join(format!("toolbox-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let environment = [("HOSTNAME", "pod-1"), ("HOME", "/root")].map(|(name, value)| (name.into(), value.into()));
    let mut shell = Shell::new(environment.into(), folder.clone(), || Duration::from_secs(1_709_210_096), |_| {});
    let buffer = Rc::new(RefCell::new(Vec::new()));
    let io = Io { input: Rc::new(RefCell::new(std::io::empty())), output: buffer.clone(), errors: buffer.clone() };
    let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    let code = crate::run(&mut shell, &words, &io);
    std::fs::remove_dir_all(&folder).unwrap();
    let text = String::from_utf8(buffer.borrow().clone()).unwrap();
    (text, code)
}

fn check(table: &[(&str, &str, i32)]) {
    let mut wrong = Vec::new();
    for (script, output, code) in table {
        let told = told(&["sh", "-c", script]);
        if told != ((*output).to_owned(), *code) {
            wrong.push(format!("{script}\n  wanted {:?}\n  got    {told:?}", (output, code)));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn argv_is_what_command_and_args_make_of_it() {
    for words in [
        &["sh", "-c", "echo hi"][..],
        &["/bin/sh", "-c", "echo hi"],
        &["/bin/bash", "-ec", "echo hi"],
        &["echo", "hi"],
        &["/bin/echo", "hi"],
        // Only `args`: the container's name comes first.
        &["web", "echo", "hi"],
        &["web", "/bin/sh", "-c", "echo hi"],
        &["sh", "-c", "echo $1", "sh", "hi"],
        &["env", "A=hi", "sh", "-c", "echo $A"],
    ] {
        assert_eq!(told(words), ("hi\n".to_owned(), 0), "{words:?}");
    }
    assert_eq!(told(&["web", "nginx"]), ("toolbox: nginx: not found\n".to_owned(), 127));
    assert_eq!(told(&["false"]), (String::new(), 1));
    assert!(told(&["web"]).0.contains(" sleep "));
}

#[test]
fn words_are_expanded_and_split() {
    check(&[
        ("echo Hello,  'the  world' \"of $HOSTNAME\"", "Hello, the  world of pod-1\n", 0),
        ("A='a  b'; echo $A; echo \"$A\"; echo '$A' \\$A", "a b\na  b\n$A $A\n", 0),
        ("echo ${A:-x} ${A-y} ${HOSTNAME:+set} [${A:+set}]", "x y set []\n", 0),
        ("echo ${A:=new}$A ${#A}", "newnew 3\n", 0),
        ("f=/data/a.tar.gz; echo ${f##*/} ${f%.gz} ${f%%.*} ${f#/}", "a.tar.gz /data/a.tar /data/a data/a.tar.gz\n", 0),
        ("echo ${A:?is missing}; echo more", "sh: A: is missing\n", 2),
        ("echo $(echo a; echo b) `echo c` \"$(printf 'x\\n\\n')\"", "a b c x\n", 0),
        ("i=2; echo $((i * (3 + 4) % 5)) $((i += 1)) $i $((1 < 2 && 0))", "4 3 3 0\n", 0),
        ("echo $((1 / 0)); echo more", "sh: divide by zero\n", 2),
        ("set -- a 'b c'; for x in \"$@\"; do echo [$x]; done; echo $# $2 \"$*\"", "[a]\n[b c]\n2 b c a b c\n", 0),
        ("touch b.txt a.txt c; echo *.txt '*' d*", "a.txt b.txt * d*\n", 0),
        ("A=1 B=2; A=3 printenv A; echo $A$B; export A; printenv A B", "3\n12\n1\n", 1),
        ("echo ~ a~", "/root a~\n", 0),
        ("x=a; x=\"${x}b\"; echo \"$x\" \"\" end", "ab  end\n", 0),
    ]);
}

#[test]
fn control_goes_where_it_should() {
    check(&[
        ("for i in 3 2 1 ; do echo $i ; done", "3\n2\n1\n", 0),
        ("i=0; while [ $i -lt 3 ]; do i=$((i+1)); [ $i = 2 ] && continue; echo $i; done", "1\n3\n", 0),
        ("i=0; until [ $i -ge 2 ]; do echo $i; i=`expr $i + 1`; done", "0\n1\n", 0),
        ("while true; do echo once; break; done", "once\n", 0),
        ("for a in 1 2; do for b in x y; do echo $a$b; continue 2; done; done", "1x\n2x\n", 0),
        ("if false; then echo a; elif true; then echo b; else echo c; fi", "b\n", 0),
        ("case abc in x|a*) echo fits;; *) echo other;; esac", "fits\n", 0),
        ("case '*' in '*') echo star;; esac; case b in [!a-c]) ;; [a-c]) echo in;; esac", "star\nin\n", 0),
        ("true && echo a || echo b; false && echo a || echo b; ! true; echo $?", "a\nb\n1\n", 0),
        ("f() { local x=$1; echo in $x; return 3; }; x=out; f 1; echo $? $x", "in 1\n3 out\n", 0),
        ("(exit 4); echo $?; (x=1; cd /); echo [$x]; { echo a; exit 5; }; echo b", "4\n[]\na\n", 5),
        ("set -e; false || true; if false; then :; fi; ! true; false; echo more", "", 1),
        ("set -eu; echo $NONE", "sh: NONE: parameter not set\n", 2),
        (
            "x=$(false) || echo failed; false | true; echo $?; set -o pipefail; false | true; echo $?",
            "failed\n0\n1\n",
            0,
        ),
        ("set -x; echo a", "+ echo a\na\n", 0),
    ]);
}

#[test]
fn streams_go_where_they_are_sent() {
    check(&[
        ("echo a > f; echo b >> f; cat f; wc -l < f; cat f f | wc -l", "a\nb\n2\n4\n", 0),
        ("echo gone > /dev/null; ls nowhere 2>/dev/null; echo $?", "1\n", 0),
        ("ls nowhere > f 2>&1; cat f", "ls: nowhere: No such file or directory\n", 0),
        ("cat < nowhere; echo $?", "sh: can't open nowhere: No such file or directory\n1\n", 0),
        ("printf 'b\\na\\n' | sort | while read line; do echo [$line]; done", "[a]\n[b]\n", 0),
        ("x=1\ncat <<END\nx is $x, \"quoted\"\nEND\ncat <<'END'\n$x\nEND", "x is 1, \"quoted\"\n$x\n", 0),
        ("for i in 1 2; do echo $i; done > f; while read a; do echo got $a; done < f", "got 1\ngot 2\n", 0),
        ("seq 5 | head -n 2; seq 5 | tail -1; seq 3 -1 2; echo a b | tee f; cat f", "1\n2\n5\n3\n2\na b\na b\n", 0),
        (
            "mkdir -p d/e; echo x > d/e/f; cp d/e/f g; mv g h; cat h; ls; rm -r d; ls; cd nowhere",
            "x\nd\nh\nh\nsh: cd: can't cd to nowhere: No such file or directory\n",
            1,
        ),
    ]);
}

#[test]
fn tools_do_what_tutorials_want_of_them() {
    check(&[
        ("date; date +%Y-%m-%dT%H:%M:%S; date -d @0 +%s", "Thu Feb 29 12:34:56 UTC 2024\n2024-02-29T12:34:56\n0\n", 0),
        (
            "date; echo Hello from the Kubernetes cluster",
            "Thu Feb 29 12:34:56 UTC 2024\nHello from the Kubernetes cluster\n",
            0,
        ),
        ("echo -n a; echo -e 'b\\tc'; echo '\\t'", "ab\tc\n\\t\n", 0),
        ("printf '%s=%03d %5.1s|%-3s|%%\\n' a 7 xyz b c 8", "a=007     x|b  |%\nc=008      |   |%\n", 0),
        ("hostname; sleep 0.1 && sleep 2m; sleep x", "pod-1\nsleep: invalid number 'x'\n", 2),
        ("printf 'ab\\na.b\\nAB\\n' | grep -c a; printf 'a+\\naa\\n' | grep 'a+'; echo b | grep a", "2\na+\n", 1),
        ("test -f f || echo no; touch f; [ -f f -a ! -d f ] && echo yes; [ 1 -gt 2 -o 2 -gt 1 ]", "no\nyes\n", 0),
        ("[ a -eq 1 ]; expr 2 '*' 3; expr 1 - 1", "sh: test: a: bad number\n6\n0\n", 1),
        ("basename /a/b.txt .txt; dirname /a/b.txt; command -v sh; command -v awk", "b\n/a\nsh\n", 127),
        ("tail -f /dev/null; printenv HOSTNAME; env | grep HOME", "pod-1\nHOME=/root\n", 0),
    ]);
}

#[test]
fn what_is_missing_is_refused_in_clear_words() {
    check(&[
        ("nginx -g x", "sh: nginx: not found\n", 127),
        ("nothing; echo $?", "sh: nothing: not found\n127\n", 0),
        ("sleep 1 & wait", "sh: &: there are no background jobs\n", 2),
        ("echo a 3>f", "sh: 3>f: not in this shell\n", 2),
        ("f() { f; }; f", "sh: more than 64 functions and subshells within each other\n", 2),
        ("trap 'exit 0' TERM", "sh: trap: not found\n", 127),
        (
            "sh -c '${A:?gone}'; echo $?; echo 'sh again' > again; sh again",
            "sh: A: gone\n2\nsh: more than 64 functions and subshells within each other\n",
            2,
        ),
        ("[[ a = a ]]", "sh: [[: not found\n", 127),
        ("a[0]=1", "sh: there are no arrays in this shell\n", 2),
        ("set -k", "sh: set: -k: not an option of this shell\n", 2),
    ]);
    let (output, code) = told(&["sh", "-c", "if true; then echo"]);
    assert!(output.starts_with("sh: syntax error"), "{output}");
    assert_eq!(code, 2);
}
