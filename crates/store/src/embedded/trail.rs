//! The audit trail in the file.

use redb::{ReadableTable, ReadableTableMetadata};

use super::Embedded;
use super::seal::Sealer;
use super::tables::{AUDIT, Tables};
use crate::{Audit, AuditEntry, AuditLimits, PAGE_MAX, Pending, StoreError};

/// Most old entries one addition drops: more than it adds, so that the trail shrinks to its
/// limits.
const DROPPED_MAX: usize = 16;

fn context(number: u64) -> [u8; 8] {
    number.to_be_bytes()
}

fn read(seal: &Sealer, number: u64, row: &[u8]) -> Result<AuditEntry, StoreError> {
    let json = seal.open_record(&[b"audit", &context(number)], row)?;
    let read = serde_json::from_slice(&json);
    read.map_err(|error| StoreError::Corrupt(format!("unreadable audit entry: {error}")))
}

impl Tables<'_> {
    fn audit(&mut self, entry: &AuditEntry, limits: AuditLimits) -> Result<(), StoreError> {
        self.counters.audited = self.counters.audited.saturating_add(1);
        let number = self.counters.audited;
        let json = serde_json::to_vec(entry).expect("the entry has string keys only");
        let row = self.seal.seal(&[b"audit", &context(number)], &json);
        self.audit.insert(number, row.as_slice())?;
        for _ in 0..DROPPED_MAX {
            let oldest = match self.audit.first()? {
                Some((number, row)) => (number.value(), row.value().to_vec()),
                None => break,
            };
            let over = self.audit.len()? > limits.entries_max;
            if !over && read(self.seal, oldest.0, &oldest.1)?.when + limits.age_max >= entry.when {
                break;
            }
            self.audit.remove(oldest.0)?;
        }
        Ok(())
    }
}

impl Audit for Embedded {
    fn append(&self, entry: AuditEntry) -> Pending<'_, ()> {
        let limits = self.shared.config.audit;
        Box::pin(self.shared.change(256, move |tables| tables.audit(&entry, limits)))
    }

    fn newest(&self, skip: usize, limit: usize) -> Pending<'_, Vec<AuditEntry>> {
        Box::pin(self.shared.read((), move |reading, ()| {
            let table = reading.transaction.open_table(AUDIT)?;
            let rows = table.range::<u64>(..)?.rev().skip(skip).take(limit.min(PAGE_MAX));
            rows.map(|row| {
                let (number, row) = row?;
                read(reading.seal, number.value(), row.value())
            })
            .collect()
        }))
    }
}
