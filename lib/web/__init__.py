"""Between HTTP and the business: who may call, what is read, what is answered."""
