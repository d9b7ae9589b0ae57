//! Tables as SQLite's virtual tables: nothing but the way from its calls to [`Scan`].
#![allow(unsafe_code)]
// The two traits are unsafe because SQLite is handed pointers to these structs and reads its own part at their
// beginning. Both are `repr(C)` with that part as their first field, which is all the traits ask for; no line here
// touches memory itself.

use std::borrow::Cow;
use std::cell::RefCell;
use std::ffi::{CStr, CString, c_int};
use std::sync::Arc;

use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use rusqlite::vtab::{Context, Filters, IndexInfo, Module, VTab, VTabConnection, VTabCursor};
use rusqlite::{Connection, Error, ffi};

use super::cells::CellRef;
use super::scan::Scan;
use super::table::Table;

/// Makes `table` known under `name`.
pub(super) fn register(
    connection: &Connection,
    name: &str,
    table: Arc<Table>,
) -> rusqlite::Result<()> {
    const MODULE: Module<'static, CaseTable> = Module::eponymous_only_module();
    connection.create_module(name, &MODULE, Some(table))
}

#[repr(C)]
struct CaseTable {
    base: ffi::sqlite3_vtab,
    table: Arc<Table>,
}

#[repr(C)]
struct CaseCursor {
    base: ffi::sqlite3_vtab_cursor,
    scan: RefCell<Scan>,
}

// SAFETY: `repr(C)`, and the first field is the base struct.
unsafe impl VTab<'_> for CaseTable {
    type Aux = Arc<Table>;
    type Cursor = CaseCursor;

    fn connect(
        _: &mut VTabConnection,
        aux: Option<&Arc<Table>>,
        _: &[u8],
        _: &[u8],
        _: &[u8],
        _: &[&[u8]],
    ) -> rusqlite::Result<(Cow<'static, CStr>, Self)> {
        let table = aux.ok_or_else(|| Error::ModuleError("the table has no case".to_owned()))?;
        let declaration = CString::new(table.declaration())?;
        let own = CaseTable {
            base: ffi::sqlite3_vtab::default(),
            table: Arc::clone(table),
        };
        Ok((Cow::Owned(declaration), own))
    }

    fn best_index(&self, info: &mut IndexInfo) -> rusqlite::Result<bool> {
        self.table.plan(info)?;
        Ok(true)
    }

    fn open(&mut self) -> rusqlite::Result<CaseCursor> {
        Ok(CaseCursor {
            base: ffi::sqlite3_vtab_cursor::default(),
            scan: RefCell::new(Scan::new(Arc::clone(&self.table))),
        })
    }
}

impl CaseCursor {
    fn checked(&self) -> rusqlite::Result<()> {
        if self.scan.borrow().table().stop.was_late() {
            return Err(Error::SqliteFailure(
                ffi::Error::new(ffi::SQLITE_INTERRUPT),
                None,
            ));
        }
        Ok(())
    }
}

// SAFETY: `repr(C)`, and the first field is the base struct.
unsafe impl VTabCursor for CaseCursor {
    fn filter(
        &mut self,
        _: c_int,
        plan: Option<&str>,
        arguments: &Filters<'_>,
    ) -> rusqlite::Result<()> {
        let scan = self.scan.get_mut();
        let wants = scan
            .table()
            .wants(plan.unwrap_or(""), |at| arguments.get::<Value>(at))?;
        scan.start(wants);
        self.checked()
    }

    fn next(&mut self) -> rusqlite::Result<()> {
        self.scan.get_mut().advance();
        self.checked()
    }

    fn eof(&self) -> bool {
        self.scan.borrow().is_at_end()
    }

    fn column(&self, context: &mut Context, column: c_int) -> rusqlite::Result<()> {
        let column = usize::try_from(column).unwrap_or(usize::MAX);
        self.scan.borrow_mut().cell(column, |cell| {
            let value = match &cell {
                CellRef::Null => ValueRef::Null,
                CellRef::Int(value) => ValueRef::Integer(*value),
                CellRef::Real(value) => ValueRef::Real(*value),
                CellRef::Text(text) => ValueRef::Text(text),
            };
            context.set_result(ToSqlOutput::Borrowed(value))
        })
    }

    fn rowid(&self) -> rusqlite::Result<i64> {
        Ok(self.scan.borrow().row())
    }
}
