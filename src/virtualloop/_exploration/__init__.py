"""Many runs of one program: which are made, what a failure is, how it is made small and how it is reported.

Owns `explore` and `explored`. Nothing here is loaded until they are used.
"""
