// Package admin promises an engine's status, its comparison with other sites and the verbs
// about its peers over HTTP, in one shape for people, scripts and probes.
//
//	GET /v1/status ─▶ engine.Status as JSON, schema 1
//	GET /v1/hints  ─▶ engine.Hints: who writes, and where clients find each site
//	GET /v1/verify ─▶ JSON lines: how far it is, at last engine.VerifyReport, schema 1;
//	                  POST: until its body ends, and the report is sent all the same
//	/v1/forget, /v1/sites ─▶ peers: GET says what there is and what it costs, POST changes it
//	/v1/audit-trail, /v1/audit-check ─▶ what operators asked for, as JSON lines; its check
//	GET /livez     ─▶ 200 while the engine runs; 503 with the reason once it stopped
//	GET /readyz    ─▶ 200 when this site does its part; 503 with the reason until then
//	else           ─▶ {"error": …, "next": …}, 404 or 405
//
// Ready means: the health word is not FAILED, and the primary takes appends. A
// standby whose link is down is DEGRADED and ready: restarting it would not help.
//
// Limits: no authentication in this release; listen on loopback, or behind
// something that has it. Only the POSTs about peers change anything. What request bodies
// hold is not looked at. A verification ends when its asker goes; one runs at a time,
// another is answered 409.
//
// It does not listen, log, or touch the process's default mux: the host does.
package admin
