"""`jukebox studio`: a page to compose on, its server without torch, and a worker that makes music.

`command` starts the server; `app` answers the page, guarded by `guard`; `pieces` reads sessions,
`job_queue` keeps what is to be made in order, `worker` is the process that makes it, and
`worker_actions` the only module here that calls the library.
"""
