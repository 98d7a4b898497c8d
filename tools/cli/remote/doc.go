// Package remote asks a running node for its status over the admin address.
//
//	Status(addr) ──GET http://addr/v1/status──▶ engine.Status
//
// An answer is a whole, decoded status of schema 1, or an error: nobody there
// (ErrUnreachable), or something there that is not a node of this release
// (ErrAnswer). Limits: answers up to 64 MiB, 10 s for each. It holds no state
// and may be used by any goroutine. It does not retry: callers know how long
// they want to wait.
package remote
