//! Compiling an expression and running it.

use std::cell::RefCell;
use std::io;

use jaq_core::load::{self, Arena, File, Loader};
use jaq_core::native::{bome, run, v};
use jaq_core::{Bind, Compiler, Ctx, DataT, Error, Exn, Lut, RunPtr, Vars, compile, data};
use jaq_json::{Val, read};
use jaq_std::ValT as _;

use super::text;

/// A compiled expression.
pub(super) struct Program(jaq_core::Filter<Data>);

/// A part of what a run gives.
pub(super) enum Output<'a> {
    /// A string, with a line end.
    Raw(&'a [u8]),
    /// Another value, with a line end.
    Json(&'a [u8]),
    /// Something for standard error.
    Note(&'a [u8]),
}

/// How a run ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    Done,
    Failed(String),
    /// Nobody takes the output.
    Closed,
}

/// Takes what comes out, piece by piece, and says whether it was taken.
type Emit<'a> = dyn FnMut(Output<'_>) -> io::Result<()> + 'a;

/// Puts something on standard error.
type Note<'a> = RefCell<dyn FnMut(&[u8]) + 'a>;

type Function = (&'static str, Box<[Bind]>, RunPtr<Data>);

/// What the functions of this house work with.
struct Data;

impl DataT for Data {
    type V<'a> = Val;
    type Data<'a> = Run<'a>;
}

#[derive(Clone)]
struct Run<'a> {
    lut: &'a Lut<Data>,
    note: &'a Note<'a>,
    /// The message of `halt_error`.
    last_words: &'a RefCell<Option<String>>,
}

impl<'a> data::HasLut<'a, Data> for Run<'a> {
    fn lut(&self) -> &'a Lut<Data> {
        self.lut
    }
}

impl Program {
    /// Compiles an expression.
    ///
    /// # Errors
    /// What was expected, what was found, and where, in one line.
    pub(super) fn compile(expression: &str) -> Result<Self, String> {
        let arena = Arena::default();
        let own = load::parse(include_str!("defs.jq"), |parser| parser.defs()).unwrap_or_default();
        let defs = jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs()).chain(own);
        let funs = functions().chain(jaq_core::funs()).chain(jaq_std::funs()).chain(jaq_json::funs());
        let modules = Loader::new(defs)
            .load(&arena, File { code: expression, path: () })
            .map_err(|errors| first(errors, |error| load_error(expression, error)))?;
        load::import(&modules, |import| Err(import.path.to_string()))
            .map_err(|errors| first(errors, |error| load_error(expression, error)))?;
        Compiler::default()
            .with_funs(funs)
            .with_global_vars(["$ENV"])
            .compile(modules)
            .map(Self)
            .map_err(|errors| first(errors, |errors| undefined(expression, &errors)))
    }

    /// Runs it on a JSON document.
    pub(super) fn run(&self, document: &[u8], emit: &mut Emit<'_>) -> End {
        let document = match read::parse_single(document) {
            Ok(document) => document,
            Err(error) => return End::Failed(format!("the document is no JSON: {error}")),
        };
        let emit = RefCell::new(emit);
        let note = RefCell::new(|text: &[u8]| {
            // Whether anybody takes it shows with the next value.
            let _ = emit.borrow_mut()(Output::Note(text));
        });
        let last_words = RefCell::new(None);
        let data = Run { lut: &self.0.lut, note: &note, last_words: &last_words };
        let context = Ctx::<Data>::new(data, Vars::new([Val::obj(jaq_json::Map::default())]));
        for outcome in self.0.id.run((context, document)) {
            let value = match outcome {
                Ok(value) => value,
                Err(exception) => return end(exception, last_words.take(), &emit),
            };
            let line = match text::line(&value) {
                Ok(line) => line,
                Err(reason) => return End::Failed(reason),
            };
            let output = if matches!(value, Val::TStr(_)) { Output::Raw(&line) } else { Output::Json(&line) };
            if emit.borrow_mut()(output).is_err() {
                return End::Closed;
            }
        }
        End::Done
    }
}

/// What an exception that nothing caught means.
fn end(exception: Exn<'_, Val>, last_words: Option<String>, emit: &RefCell<&mut Emit<'_>>) -> End {
    let exception = match exception.get_err() {
        Ok(error) => return End::Failed(error_text(error)),
        Err(exception) => exception,
    };
    match (exception.get_halt(), last_words) {
        (Ok(0), None) => End::Done,
        (Ok(0), Some(words)) => match emit.borrow_mut()(Output::Note(words.as_bytes())) {
            Ok(()) => End::Done,
            Err(_) => End::Closed,
        },
        (_, Some(words)) => End::Failed(words),
        (Ok(code), None) => End::Failed(format!("halted with {code}")),
        (Err(_), None) => End::Failed("`break` without its label".to_owned()),
    }
}

fn error_text(error: Error<Val>) -> String {
    let value = error.into_val();
    text::shortened(&text::raw_or_json(&value))
}

/// The functions that have to be otherwise here than in jaq's library: no environment, no second input, no logger.
fn functions() -> impl Iterator<Item = jaq_core::native::Fun<Data>> {
    let functions: [Function; 6] = [
        ("env", v(0), |_| bome(Ok(Val::obj(jaq_json::Map::default())))),
        ("input", v(0), |_| bome(Err(Error::str("No more inputs")))),
        ("inputs", v(0), |_| Box::new(std::iter::empty())),
        ("debug_empty", v(0), |cv| {
            let value = format!("[\"DEBUG:\",{}]", cv.1);
            cv.0.data().note.borrow_mut()(value.as_bytes());
            Box::new(std::iter::empty())
        }),
        ("stderr_empty", v(0), |cv| {
            cv.0.data().note.borrow_mut()(text::raw_or_json(&cv.1).as_bytes());
            Box::new(std::iter::empty())
        }),
        ("last_words", v(1), |mut cv| {
            let code = cv.0.pop_var();
            *cv.0.data().last_words.borrow_mut() = Some(text::raw_or_json(&cv.1));
            let code = code.as_isize().and_then(|code| i32::try_from(code).ok());
            let fail = || Exn::from(Error::str("halt_error takes an exit code"));
            Box::new(std::iter::once(Err(code.map_or_else(fail, Exn::halt))))
        }),
    ];
    functions.into_iter().map(run::<Data>)
}

/// The text of the first of several errors. There is at least one, or there would be none at all.
fn first<E>(errors: load::Errors<&str, (), E>, text: impl Fn(E) -> String) -> String {
    errors.into_iter().next().map_or_else(|| "no expression".to_owned(), |(_, error)| text(error))
}

fn load_error(expression: &str, error: load::Error<&str>) -> String {
    match error {
        load::Error::Io(errors) => {
            let module = errors.first().map_or("", |(path, _)| path);
            format!("there are no modules to import, as {module:?} would be{}", at(expression, module))
        }
        load::Error::Lex(errors) => match errors.first() {
            Some((expected, found)) => unexpected(expression, expected.as_str(), found),
            None => "not an expression".to_owned(),
        },
        load::Error::Parse(errors) => match errors.first() {
            Some((expected, found)) => unexpected(expression, expected.as_str(), found),
            None => "not an expression".to_owned(),
        },
    }
}

fn unexpected(expression: &str, expected: &str, found: &str) -> String {
    let expected = if expected == "nothing" { "nothing more" } else { expected };
    let shown = match found {
        "" => "the expression ends".to_owned(),
        found => format!("there is {:?}", text::shortened(found)),
    };
    format!("{expected} was expected where {shown}{}", at(expression, found))
}

fn undefined(expression: &str, errors: &[compile::Error<&str>]) -> String {
    let Some((name, what)) = errors.first() else { return "not an expression".to_owned() };
    let place = at(expression, name);
    match what {
        compile::Undefined::Filter(0) => format!("{name} is not defined{place}"),
        compile::Undefined::Filter(arity) => format!("{name}/{arity} is not defined{place}"),
        other => format!("{} {name} is not defined{place}", other.as_str()),
    }
}

/// Where a part of the expression stands, in characters from 0.
fn at(expression: &str, part: &str) -> String {
    let offset = (part.as_ptr() as usize).checked_sub(expression.as_ptr() as usize);
    let before = offset.and_then(|offset| expression.get(..offset));
    before.map_or_else(String::new, |before| format!(" (at character {})", before.chars().count()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What an expression makes of a document: values, notes marked with `!`, and the error at the end.
    fn run(expression: &str, document: &str) -> String {
        let program = Program::compile(expression).unwrap_or_else(|error| panic!("{expression}: {error}"));
        let mut all = String::new();
        let end = program.run(document.as_bytes(), &mut |output| {
            let (mark, text) = match output {
                Output::Raw(text) | Output::Json(text) => ("", text),
                Output::Note(text) => ("!", text),
            };
            all.push_str(mark);
            all.push_str(std::str::from_utf8(text).unwrap());
            Ok(())
        });
        match end {
            End::Done => all,
            other => format!("{all}{other:?}"),
        }
    }

    #[test]
    fn strings_are_raw_and_numbers_keep_their_digits() {
        let document =
            r#"{"a": "x\ty", "n": [1.10, 12345678901234567890, 1E5, -0, 1e1000], "e": {}, "l": []}"#;
        assert_eq!(run(".a", document), "x\ty\n");
        assert_eq!(run("[.a], .e, .l", document), "[\n  \"x\\ty\"\n]\n{}\n[]\n");
        assert_eq!(run(".n[]", document), "1.10\n12345678901234567890\n1E5\n0\n1e1000\n");
        assert_eq!(
            run(".n[0] + 0, 3 / 2 * 2, 1 / 3, nan, -infinite, 1e-5 * 1, 1e30 * 1", document),
            "1.1\n3\n0.3333333333333333\nnull\n-1.7976931348623157e+308\n1e-05\n1e+30\n"
        );
        assert_eq!(run("12345678901234567890 + 1", "null"), "12345678901234567891\n");
    }

    #[test]
    fn nothing_comes_from_outside() {
        assert_eq!(run("env, $ENV, $ENV.PATH", "null"), "{}\n{}\nnull\n");
        assert_eq!(run("[inputs], input_filename", "null"), "[]\nnull\n");
        assert_eq!(run("input", "null"), r#"Failed("No more inputs")"#);
        for import in [r#"include "a"; 1"#, r#"import "a" as a; 1"#, r#"import "a" as $a; $a"#] {
            assert!(compile_error(import).starts_with("there are no modules to import"), "{import}");
        }
    }

    #[test]
    fn ends() {
        assert_eq!(run("1, error(\"no\"), 2", "null"), "1\nFailed(\"no\")");
        assert_eq!(run("error({a: 1})", "null"), r#"Failed("{\"a\":1}")"#);
        assert_eq!(run(".a", "[1]"), r#"Failed("cannot index [1] with \"a\"")"#);
        assert_eq!(run("1, halt, 2", "null"), "1\n");
        assert_eq!(run("halt(3)", "null"), r#"Failed("halted with 3")"#);
        assert_eq!(run("\"bye\", (\"why\" | halt_error)", "null"), "bye\nFailed(\"why\")");
        assert_eq!(run("{a: 1} | halt_error(1)", "null"), r#"Failed("{\"a\":1}")"#);
        assert_eq!(run("\"why\" | halt_error(0)", "null"), "!why");
        assert_eq!(run("1 | debug, (\"x\" | stderr)", "null"), "![\"DEBUG:\",1]1\n!xx\n");
        assert_eq!(
            run(".", "{"),
            r#"Failed("the document is no JSON: byte offset 1: value or end of sequence expected")"#
        );
        assert_eq!(run("{(1, \"a\"): 2}", "null"), r#"Failed("object keys are strings, and 1 is none")"#);
        assert_eq!(run("try error(\"x\") catch .", "null"), "x\n");
        let long = run("error(\"x\" * 10000)", "null");
        assert!(long.len() < 300 && long.contains(" … "), "{long}");
    }

    #[test]
    fn what_jaq_does_not_have() {
        for (expression, document, expected) in [
            ("@csv", r#"[1, "a\"b", null, true, 1.10]"#, "1,\"a\"\"b\",,true,1.10\n"),
            ("@tsv", r#"["a\tb", 1, null, "c\\d\ne"]"#, "a\\tb\t1\t\tc\\\\d\\ne\n"),
            ("format(\"csv\"), format(\"base64\")", "[1]", "1\nWzFd\n"),
            ("IN(1, 2), IN(3)", "1", "true\nfalse\n"),
            ("INDEX(.id) | .x.n", r#"[{"id": "x", "n": 5}]"#, "5\n"),
            ("[leaf_paths] | tojson", r#"{"a": [1]}"#, "[[\"a\",0]]\n"),
            (
                "[tostream] | tojson",
                r#"{"a":[1,{"b":2}],"c":[]}"#,
                "[[[\"a\",0],1],[[\"a\",1,\"b\"],2],[[\"a\",1,\"b\"]],[[\"a\",1]],[[\"c\"],[]],[[\"c\"]]]\n",
            ),
            (
                "fromstream(tostream) | tojson",
                r#"{"a":[1,{"b":2}],"c":[]}"#,
                "{\"a\":[1,{\"b\":2}],\"c\":[]}\n",
            ),
            ("fromstream(1 | truncate_stream([[0],1], [[1,0],2], [[1,0]], [[1]])) | tojson", "null", "[2]\n"),
            ("[toarray, ([1] | toarray)] | tojson", "1", "[[1],[1]]\n"),
        ] {
            assert_eq!(run(expression, document), expected, "{expression}");
        }
        for expression in ["{} | @csv", "[[]] | @csv", "format(\"x\")"] {
            assert!(run(expression, "null").starts_with("Failed("), "{expression}");
        }
    }

    fn compile_error(expression: &str) -> String {
        Program::compile(expression).err().unwrap_or_else(|| panic!("{expression} compiles"))
    }

    #[test]
    fn errors_say_where() {
        for (expression, error) in [
            ("", "term was expected where the expression ends (at character 0)"),
            (".a |", "term was expected where the expression ends (at character 4)"),
            (".a | [.b", "closing bracket was expected where the expression ends (at character 8)"),
            (".\"é\" | foo", "foo is not defined (at character 7)"),
            ("map(1; 2)", "map/2 is not defined (at character 0)"),
            ("$x", "variable $x is not defined (at character 0)"),
            ("break $x", "label $x is not defined (at character 6)"),
            (".a }", "token was expected where there is \"}\" (at character 3)"),
            ("1 2", "nothing more was expected where there is \"2\" (at character 2)"),
            ("\"a", "closing quote was expected where the expression ends (at character 2)"),
            ("a::b", "module a is not defined (at character 0)"),
        ] {
            assert_eq!(compile_error(expression), error, "{expression}");
        }
    }
}
