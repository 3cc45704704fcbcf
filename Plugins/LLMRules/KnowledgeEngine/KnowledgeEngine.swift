public enum KnowledgeEngine {}
