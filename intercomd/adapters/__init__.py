"""Adapters: each hardware or network library is imported in exactly one file here."""
