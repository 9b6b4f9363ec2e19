"""Turns a manifest of prompts into finished Kling AI videos and a ledger of the credits they cost."""
