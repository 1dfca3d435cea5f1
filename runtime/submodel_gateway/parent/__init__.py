"""The process that keeps the listening sockets while the processes that serve on them come and go.

SDKs of the hosted platforms throw a finished result away at the first connection that is refused. So the sockets belong
to a parent that does next to nothing: `supervision` decides, `keeper` acts, `handover` is what parent and child agree
on. While no child accepts, connections wait in the backlog.
"""
