"""ASN.1's aligned packed encoding: bits, schemas that read and write values, reals, and the errors of all codecs.
Pure functions over bytes. May import policy.errors alone.
"""
