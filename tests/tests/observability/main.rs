//! The shipped access log, Promtail stages, queries and traces: real Envoys write, a real Loki and a real Jaeger answer.

mod load;
mod logs;
mod traces;
