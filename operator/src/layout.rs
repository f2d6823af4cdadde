//! How text for people is laid out: rows under labels, and tables.

/// Lines of `label   value`, values aligned, several lines of a value indented below each other.
pub(crate) fn format_rows<'a>(rows: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let rows: Vec<_> = rows.into_iter().collect();
    let width = rows.iter().map(|(label, _)| label.len()).max().unwrap_or_default();
    let mut text = String::new();
    for (label, value) in rows {
        for (number, line) in value.lines().enumerate() {
            let label = if number == 0 { label } else { "" };
            text.push_str(format!("{label:width$}  {line}").trim_end());
            text.push('\n');
        }
    }
    text
}

/// A table without borders: what people can also cut and grep.
pub(crate) fn format_table<const N: usize>(
    header: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING).set_header(header);
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let mut text = String::new();
    for line in table.lines() {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}
