//! Which knobs a program has: the keys of its defaults file, and the variable that each of them is in the environment.

use toml::{Table, Value};

/// The knobs of one program. The text of the defaults is also the list of them: a key it lacks is unknown.
#[derive(Debug, Clone, Copy)]
pub struct Knobs {
    /// The text of the defaults file, TOML.
    pub defaults: &'static str,
    /// Keys without a default, which the defaults file cannot hold.
    pub required: &'static [&'static str],
    /// Tables whose keys are chosen by whoever writes the file.
    pub open: &'static [&'static str],
    /// Variables that other programs read too, and the knob that each sets.
    pub aliases: &'static [(&'static str, &'static str)],
}

/// A key's path and its default.
pub(crate) type Leaf = (Vec<String>, Value);

impl Knobs {
    /// The defaults as a table. The shipped ones are tested to be TOML.
    pub(crate) fn table(&self) -> Table {
        self.defaults
            .parse()
            .unwrap_or_else(|error| unreachable!("the shipped defaults are tested to be TOML: {error}"))
    }

    pub(crate) fn is_open(&self, dotted: &str) -> bool {
        self.open.contains(&dotted)
    }

    /// Every key that a variable can set, open tables left out.
    pub(crate) fn leaves(&self) -> Vec<Leaf> {
        let required =
            self.required.iter().map(|key| (vec![(*key).to_owned()], Value::String(String::new())));
        leaves(&self.table(), &|dotted| self.is_open(dotted)).into_iter().chain(required).collect()
    }

    /// The variables that set the knob at `path`; the last one wins: our own name, over one that other programs read too.
    pub(crate) fn variables(&self, path: &[String]) -> Vec<String> {
        let dotted = path.join(".");
        let aliases = self.aliases.iter().filter(|(_, knob)| *knob == dotted);
        aliases.map(|(name, _)| (*name).to_owned()).chain([variable_name(path)]).collect()
    }
}

/// Every value of `table` with its path, but for those below what is `left_out`.
pub(crate) fn leaves(table: &Table, left_out: &impl Fn(&str) -> bool) -> Vec<Leaf> {
    let mut found = Vec::new();
    collect(table, left_out, &mut Vec::new(), &mut found);
    found
}

fn collect(table: &Table, left_out: &impl Fn(&str) -> bool, above: &mut Vec<String>, found: &mut Vec<Leaf>) {
    for (key, value) in table {
        above.push(key.clone());
        match value {
            Value::Table(inner) if !left_out(&above.join(".")) => collect(inner, left_out, above, found),
            Value::Table(_) => {}
            Value::String(_)
            | Value::Integer(_)
            | Value::Float(_)
            | Value::Boolean(_)
            | Value::Datetime(_)
            | Value::Array(_) => found.push((above.clone(), value.clone())),
        }
        above.pop();
    }
}

/// The variable of a knob: `lease.beat` is `HARVEST_LEASE_BEAT`.
fn variable_name(path: &[String]) -> String {
    format!("HARVEST_{}", path.join("_").to_ascii_uppercase())
}
