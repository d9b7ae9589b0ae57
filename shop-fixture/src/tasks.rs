//! Owns the account of this process's background tasks: which are alive, and when each last did its work. What they do is
//! theirs; a task takes a `Task` when it begins, ticks it at each round, and is told dead when it drops it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::telemetry::metrics::Metrics;

#[derive(Debug, Clone, Copy)]
struct State {
    /// Several tasks of one name may run.
    alive: u32,
    last_tick: Instant,
}

#[derive(Debug, Clone, Default)]
pub struct Tasks {
    states: Arc<Mutex<BTreeMap<&'static str, State>>>,
}

impl Tasks {
    /// Notes that a task has begun.
    #[must_use]
    pub fn begin(&self, name: &'static str) -> Task {
        self.change(name, |state| state.alive += 1);
        Task {
            tasks: self.clone(),
            name,
        }
    }

    fn change(&self, name: &'static str, change: impl FnOnce(&mut State)) {
        let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        let state = states.entry(name).or_insert(State {
            alive: 0,
            last_tick: Instant::now(),
        });
        change(state);
    }

    /// Writes the present account into the metrics.
    pub fn expose(&self, metrics: &Metrics) {
        let states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, state) in states.iter() {
            let labels = [("task", *name)];
            let alive = if state.alive > 0 { 1.0 } else { 0.0 };
            metrics.set("shop.task.alive", &labels, alive);
            let age = state.last_tick.elapsed().as_secs_f64();
            metrics.set("shop.task.last_tick_age", &labels, age);
        }
    }
}

/// A running task's entry.
#[derive(Debug)]
pub struct Task {
    tasks: Tasks,
    name: &'static str,
}

impl Task {
    /// Notes that the task has done a round of its work.
    pub fn tick(&self) {
        self.tasks
            .change(self.name, |state| state.last_tick = Instant::now());
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.tasks.change(self.name, |state| {
            state.alive = state.alive.saturating_sub(1)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::prometheus;

    fn line(tasks: &Tasks, wanted: &str) -> f64 {
        let metrics = Metrics::new(0);
        tasks.expose(&metrics);
        let page = prometheus::page(&metrics);
        let found = page.lines().find_map(|line| line.strip_prefix(wanted));
        found
            .and_then(|rest| rest.trim().parse().ok())
            .unwrap_or(f64::NAN)
    }

    #[test]
    fn a_task_is_alive_until_it_is_dropped_and_ages_between_its_ticks() {
        let tasks = Tasks::default();
        let task = tasks.begin("beat");
        std::thread::sleep(std::time::Duration::from_millis(20));
        let age = "shop_task_last_tick_age_seconds{task=\"beat\"}";
        assert!(line(&tasks, age) >= 0.02);
        task.tick();
        assert!(line(&tasks, age) < 0.02);
        assert_eq!(line(&tasks, "shop_task_alive{task=\"beat\"}"), 1.0);
        let second = tasks.begin("beat");
        drop(task);
        assert_eq!(line(&tasks, "shop_task_alive{task=\"beat\"}"), 1.0);
        drop(second);
        assert_eq!(line(&tasks, "shop_task_alive{task=\"beat\"}"), 0.0);
    }
}
